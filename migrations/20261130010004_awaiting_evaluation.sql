-- A status more: the result waits for the judgement of another program. In a step of its own, for a new value may
-- be used only once it is committed.
ALTER TYPE transfer_status ADD VALUE 'awaiting_evaluation' AFTER 'running';
