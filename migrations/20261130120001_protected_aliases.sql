-- An alias of a fine-tune that consumers live by may be one that only administrators move.

CREATE TABLE fine_tune_protected_aliases (
    fine_tune uuid NOT NULL REFERENCES fine_tunes,
    alias     text NOT NULL,
    tenant    uuid NOT NULL REFERENCES tenants,
    PRIMARY KEY (fine_tune, alias)
);
COMMENT ON TABLE fine_tune_protected_aliases IS 'Aliases that only an administrator''s key moves, whether they stand anywhere yet or not. Who protected them, and when: audit_events.';
COMMENT ON COLUMN fine_tune_protected_aliases.fine_tune IS 'Whose alias it is.';
COMMENT ON COLUMN fine_tune_protected_aliases.alias IS 'The name.';
COMMENT ON COLUMN fine_tune_protected_aliases.tenant IS 'Whose it is.';

SELECT protect('fine_tune_protected_aliases');
