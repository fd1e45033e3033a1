-- What: which pseudonyms are of one vehicle, after a change of the key. Run by voltd/pipeline/write/pseudonym_changes.py
--       in the transaction of the first reading, and in a job.
-- Why:  the owner may join the history of both.
-- Lock: ROW EXCLUSIVE on volt_internal.pseudonym_change.

-- name: insert_pseudonym_changes
-- previous text[], current text[]: adds those that are new.
INSERT INTO volt_internal.pseudonym_change (previous, current)
SELECT * FROM unnest(%(previous)s::text[], %(current)s::text[])
ON CONFLICT DO NOTHING
