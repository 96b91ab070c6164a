-- The outbox, for MySQL 8 and MariaDB. Times are milliseconds since 1970 by the database's clock, but for record_ms,
-- which is the event's. Each statement may be run again: DDL cannot be taken back here.

CREATE TABLE IF NOT EXISTS outbox (
    id           BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    shard        SMALLINT     NOT NULL,           -- of the key: what one relay publishes in order
    state        SMALLINT     NOT NULL DEFAULT 0, -- 0 pending, 1 sent, 2 waits behind another row, 3 parked
    topic        VARCHAR(249) NOT NULL,
    record_key   LONGBLOB,
    record_value LONGBLOB,
    headers      LONGTEXT     NOT NULL,
    record_ms    BIGINT       NOT NULL,
    event_id     VARCHAR(64)  NOT NULL,
    created_ms   BIGINT       NOT NULL,
    changed_ms   BIGINT       NOT NULL DEFAULT 0, -- of the state
    retry_ms     BIGINT       NOT NULL DEFAULT 0, -- parked: when to try again, 0 never
    reason       VARCHAR(64)  NOT NULL DEFAULT '',
    detail       VARCHAR(1024) NOT NULL DEFAULT '',
    INDEX outbox_pending (state, shard, id),
    INDEX outbox_rest (state, shard, changed_ms)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who relays a shard until when, under which producer identity, and the batches that were begun and not finished.
CREATE TABLE IF NOT EXISTS outbox_shards (
    shard       SMALLINT     NOT NULL PRIMARY KEY,
    owner       VARCHAR(128) NOT NULL DEFAULT '',
    expires_ms  BIGINT       NOT NULL DEFAULT 0,
    producer_id BIGINT       NOT NULL DEFAULT -1,
    epoch       INTEGER      NOT NULL DEFAULT -1,
    revision    BIGINT       NOT NULL DEFAULT 0,
    marks       LONGTEXT
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO outbox_shards (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7);

-- The relays that are at work, so that each takes its share of the shards.
CREATE TABLE IF NOT EXISTS outbox_relays (
    relay      VARCHAR(128) NOT NULL PRIMARY KEY,
    expires_ms BIGINT       NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
