-- What: the last batch that each writer has committed.
-- Why:  where the answer to a COMMIT is lost, this says whether the batch is there. A transaction's number does not: what
--       a crash took before the WAL reached the disk is forgotten, and its number is given to another transaction, whose
--       COMMIT would pass for the lost one's.
-- Lock: none on existing data, the table is new.

CREATE TABLE volt.ingest_commit (
  writer text NOT NULL,
  batch  uuid NOT NULL,
  CONSTRAINT ingest_commit_pkey PRIMARY KEY (writer)
) WITH (fillfactor = 10);
COMMENT ON TABLE volt.ingest_commit IS 'The last batch that each writer has committed, for when the answer is lost.';
COMMENT ON COLUMN volt.ingest_commit.writer IS 'The client id at the broker, and which of its connections: stream or spool.';
COMMENT ON COLUMN volt.ingest_commit.batch IS 'Chosen anew for each transaction.';
GRANT SELECT, INSERT, UPDATE ON volt.ingest_commit TO volt_writer;
