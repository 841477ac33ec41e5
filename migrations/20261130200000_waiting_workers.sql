-- A transfer that is queued wakes one worker that waits, not all of them: a hundred that all look for the same one
-- take work six times more slowly than ten.

ALTER TABLE workers
    ADD COLUMN waiting_since timestamptz,
    ADD COLUMN listens       boolean NOT NULL DEFAULT false;
CREATE INDEX workers_waiting ON workers (waiting_since) WHERE waiting_since IS NOT NULL;
COMMENT ON TABLE workers IS 'Worker processes, for people to see, and to be woken; the queue does not depend on it.';
COMMENT ON COLUMN workers.waiting_since IS 'Since when it has had nothing to do; null: it works, or was woken and looks.';
COMMENT ON COLUMN workers.listens IS 'Whether it hears that it is woken while it waits. Workers that are many do not listen, and look.';

-- Who queues a transfer may be a tenant's role, which only reads this table. The one that has waited for the
-- shortest time is the likeliest to be alive, and lets the others be scaled down. Where no one is known to wait,
-- all are told: somebody may have looked in vain and not said so yet, or be of a version that does not.
CREATE FUNCTION wake_worker() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    woken uuid;
BEGIN
    UPDATE workers SET waiting_since = NULL
    WHERE id = (SELECT id FROM workers
                WHERE waiting_since IS NOT NULL AND listens
                  AND last_seen_at > now() - interval '90 seconds'
                ORDER BY waiting_since DESC LIMIT 1
                FOR UPDATE SKIP LOCKED)
    RETURNING id INTO woken;
    PERFORM pg_notify(coalesce('worker_' || woken, 'transfer_queued'), '');
END
$$;
COMMENT ON FUNCTION wake_worker IS 'Notifies a worker that waits on `worker_<id>`; all of them on `transfer_queued` where none does.';

CREATE OR REPLACE FUNCTION transfer_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    PERFORM pg_notify('transfers', NEW.id::text);
    IF NEW.status = 'queued' AND NOT NEW.held THEN
        PERFORM wake_worker();
    ELSIF NEW.status = 'cancelling' THEN
        PERFORM pg_notify('transfer_cancelling', NEW.id::text);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION transfer_released() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wake_worker();
    RETURN NULL;
END
$$;
