-- A search for a text finds transfers by an index, however many there are.
--
-- The extension pg_trgm does not serve: not every server has it or allows it, and behind row-level security PostgreSQL
-- uses no index whose operator could tell of hidden rows. So this is an index of our own: for each transfer, once, the
-- runs of three characters of what is searched, as numbers that differ from tenant to tenant. It only proposes rows:
-- each is then read behind the wall, and compared with the text.

-- 250 runs are one transfer's; a job with far more (its labels may have 256 kB) is proposed to every search.
CREATE FUNCTION search_mark(tenant uuid) RETURNS integer[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY [-1 # ('x' || right(tenant::text, 8))::bit(32)::integer]
$$;
COMMENT ON FUNCTION search_mark IS 'What a text has that is too long to be indexed.';

CREATE FUNCTION search_grams(tenant uuid, searched text) RETURNS integer[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    own    integer := ('x' || right(tenant::text, 8))::bit(32)::integer;
    found  integer[] := '{}';
    letter text;
    first  bigint;
    second bigint;
    third  bigint;
BEGIN
    IF length(searched) > 8192 THEN
        RETURN search_mark(tenant);
    END IF;
    FOREACH letter IN ARRAY string_to_array(lower(searched), NULL) LOOP
        third := ascii(letter);
        IF first IS NOT NULL THEN
            found := found || (((first * 1000003 + second * 8191 + third) % 2147483647)::integer # own);
        END IF;
        first := second;
        second := third;
    END LOOP;
    RETURN ARRAY (SELECT DISTINCT run FROM unnest(found) AS run);
END
$$;
COMMENT ON FUNCTION search_grams IS 'The runs of three characters of a text, whatever their case, as numbers of the tenant''s own. A text within another has no others; a shorter one has none.';

-- No tenant's column and no policy: it has nothing that could be read, and only names rows that policies guard.
CREATE TABLE transfer_grams (
    transfer uuid PRIMARY KEY REFERENCES transfers ON DELETE CASCADE,
    grams    integer[] NOT NULL
);
COMMENT ON TABLE transfer_grams IS 'By what transfers are found: beside them, so that their many changes do not touch the index.';
COMMENT ON COLUMN transfer_grams.transfer IS 'The transfer.';
COMMENT ON COLUMN transfer_grams.grams IS 'search_grams of its id, locations, name, labels and fine-tune, none of which changes.';

CREATE FUNCTION transfer_to_be_found() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transfer_grams (transfer, grams)
    VALUES (NEW.id, search_grams(NEW.tenant, concat_ws(' ', NEW.id::text, NEW.source_base,
        NEW.spec #>> '{source,trajectory}', NEW.target_base, NEW.name, NEW.metadata::text,
        (SELECT f.name FROM fine_tunes f WHERE f.id = NEW.fine_tune))));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION transfer_to_be_found IS 'Puts a new transfer into the index of texts. What is compared in the end: database::transfers::list.';

INSERT INTO transfer_grams (transfer, grams)
SELECT t.id, search_grams(t.tenant, concat_ws(' ', t.id::text, t.source_base, t.spec #>> '{source,trajectory}',
                                              t.target_base, t.name, t.metadata::text, f.name))
FROM transfers t LEFT JOIN fine_tunes f ON f.id = t.fine_tune;

-- New entries wait in a short list, which a search reads too: no submission pays for many others.
CREATE INDEX transfers_by_text ON transfer_grams USING gin (grams) WITH (gin_pending_list_limit = 256);

CREATE TRIGGER transfer_to_be_found AFTER INSERT ON transfers
    FOR EACH ROW EXECUTE FUNCTION transfer_to_be_found();

DO $$
BEGIN
    IF passes_policies() THEN
        GRANT SELECT, INSERT ON transfer_grams TO retune_tenant;
    END IF;
END
$$;
