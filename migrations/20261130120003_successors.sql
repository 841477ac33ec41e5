-- A model's card on a hub may name the repository that replaces it (`new_version`). Who has a version from there is
-- told, and whether it becomes a version too is the base model's own choice.

ALTER TYPE arrival_status ADD VALUE 'proposed';

CREATE TYPE successor_policy AS ENUM ('ignore', 'propose', 'follow');

ALTER TABLE base_models
    ADD COLUMN successors  successor_policy NOT NULL DEFAULT 'propose',
    ADD COLUMN card_due_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX base_models_card_due ON base_models (card_due_at);
COMMENT ON COLUMN base_models.successors IS 'What becomes of a repository that the card of its newest version names as the next: nothing, a proposal, or a version.';
COMMENT ON COLUMN base_models.card_due_at IS 'From when on the card of its newest version is read again, where that is of a hub.';

ALTER TABLE arrivals ALTER COLUMN inbound_token DROP NOT NULL;
COMMENT ON COLUMN arrivals.inbound_token IS 'By which address it was first announced, or whose folder was listed; it may be withdrawn since. Null: a model''s card names it.';
COMMENT ON COLUMN arrivals.status IS 'waiting until it is known what it is: a new version (registered), one that was there (known), a name that no version can have (ignored), given up (failed). proposed: for somebody to register.';
