quarter_hour timestamptz, length_s numeric, kwh numeric, covered_s numeric, gap_s numeric, low_kwh numeric,
high_kwh numeric, peak_kw numeric, gaps tstzrange[], suspect boolean, source text, moved boolean
