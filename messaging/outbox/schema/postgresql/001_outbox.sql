-- The outbox. Times are milliseconds since 1970 by the database's clock, but for record_ms, which is the event's.

CREATE TABLE outbox (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard        SMALLINT NOT NULL,           -- of the key: what one relay publishes in order
    state        SMALLINT NOT NULL DEFAULT 0, -- 0 pending, 1 sent, 2 waits behind another row, 3 parked
    topic        TEXT     NOT NULL,
    record_key   BYTEA,
    record_value BYTEA,
    headers      TEXT     NOT NULL,
    record_ms    BIGINT   NOT NULL,
    event_id     TEXT     NOT NULL,
    created_ms   BIGINT   NOT NULL,
    changed_ms   BIGINT   NOT NULL DEFAULT 0, -- of the state
    retry_ms     BIGINT   NOT NULL DEFAULT 0, -- parked: when to try again, 0 never
    reason       TEXT     NOT NULL DEFAULT '',
    detail       TEXT     NOT NULL DEFAULT ''
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.2);

CREATE INDEX outbox_pending ON outbox (shard, id) WHERE state = 0;
CREATE INDEX outbox_rest ON outbox (state, shard, changed_ms) WHERE state <> 0;

-- Who relays a shard until when, under which producer identity, and the batches that were begun and not finished.
CREATE TABLE outbox_shards (
    shard       SMALLINT NOT NULL PRIMARY KEY,
    owner       TEXT     NOT NULL DEFAULT '',
    expires_ms  BIGINT   NOT NULL DEFAULT 0,
    producer_id BIGINT   NOT NULL DEFAULT -1,
    epoch       INTEGER  NOT NULL DEFAULT -1,
    revision    BIGINT   NOT NULL DEFAULT 0,
    marks       TEXT
) WITH (fillfactor = 30);

INSERT INTO outbox_shards (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7);

-- The relays that are at work, so that each takes its share of the shards.
CREATE TABLE outbox_relays (
    relay      TEXT   NOT NULL PRIMARY KEY,
    expires_ms BIGINT NOT NULL
);
