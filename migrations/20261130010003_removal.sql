-- Fine-tunes and base models may be removed. What came of them stays: transfers and retunes without their names.

ALTER TABLE transfers DROP CONSTRAINT a_member_is_of_a_fine_tune;
ALTER TABLE transfers ADD CONSTRAINT a_fine_tune_is_carried_by_a_retune
    CHECK (fine_tune IS NULL OR retune IS NOT NULL);
COMMENT ON COLUMN transfers.fine_tune IS 'The fine-tune that it carries over, if it belongs to a retune and the fine-tune is still there.';
COMMENT ON COLUMN transfers.base_version IS 'The registered version that is its target, if any and if it is still there.';
COMMENT ON COLUMN retunes.base_model IS 'What has a new version; null: the targets were given by location, or it was removed.';
COMMENT ON COLUMN retunes.base_version IS 'The target of all its transfers; null: the targets were given by location, or it was removed.';

-- What refers to a version is looked for when it is removed.
CREATE INDEX fine_tunes_of_base_version ON fine_tunes (base_version);
CREATE INDEX fine_tune_versions_of_base_version ON fine_tune_versions (base_version);
CREATE INDEX transfers_of_base_version ON transfers (base_version) WHERE base_version IS NOT NULL;
