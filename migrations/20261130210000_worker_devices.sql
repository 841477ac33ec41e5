-- Workers say what they compute on.

ALTER TABLE workers ADD COLUMN device text NOT NULL DEFAULT 'cpu';
COMMENT ON COLUMN workers.device IS 'What computes: cpu, or the name of a GPU with its driver.';
