-- What a staged row s is to the stored row r: see look_at_{device}_staging.
array_agg(s.place) FILTER (WHERE r.{device}_id IS NULL),
array_agg(s.place) FILTER (WHERE r.{device}_id IS NOT NULL AND (
  false
  -- each value: OR (r.{value} IS NULL AND s.{value} IS NOT NULL)
)),
array_agg(s.place) FILTER (WHERE
  false
  -- each value: OR s.{value} <> r.{value}
)
-- vehicle: , array_agg(s.place) FILTER (WHERE r.{device}_id IS NOT NULL AND ((s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude))
-- vehicle: , array_agg(r.latitude) FILTER (WHERE r.{device}_id IS NOT NULL AND ((s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude))
-- vehicle: , array_agg(r.longitude) FILTER (WHERE r.{device}_id IS NOT NULL AND ((s.latitude IS NULL) <> (s.longitude IS NULL) OR s.latitude <> r.latitude OR s.longitude <> r.longitude))
