-- A stored row r with what it lacks from the row excluded.
-- each value: {value} = coalesce(r.{value}, excluded.{value}),
filled_at = greatest(r.filled_at, excluded.received_at)
