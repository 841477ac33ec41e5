-- Who names no alias follows every alias of the base model.
ALTER TABLE fine_tunes
    DROP CONSTRAINT an_alias_is_followed_by_name,
    ADD CONSTRAINT an_alias_is_followed_where_it_moves CHECK (policy_on = 'alias_moved' OR policy_alias IS NULL);
COMMENT ON COLUMN fine_tunes.policy_alias IS 'The base model''s alias that it follows; null: none, or every one where policy_on is alias_moved.';
