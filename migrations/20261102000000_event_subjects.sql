-- Events tell of more than transfers: of base models, retunes and fine-tunes. What an event is about
-- is named as the API's paths name it, so that a receiver can look it up.

ALTER TABLE events ADD COLUMN subject text;
UPDATE events SET subject = 'transfers/' || transfer;
ALTER TABLE events ALTER COLUMN subject SET NOT NULL;
COMMENT ON COLUMN events.subject IS 'What it is about, as the API names it below /v1: transfers/{id}, base_models/{name}/versions/{version}.';
