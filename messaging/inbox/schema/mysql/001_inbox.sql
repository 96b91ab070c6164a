-- The inbox: which events had their effect, for each consumer group. Times are milliseconds since 1970 by the database's
-- clock. The statement may be run again: DDL cannot be taken back here.

CREATE TABLE IF NOT EXISTS inbox (
    consumer   VARCHAR(255) NOT NULL,
    message_id VARBINARY(320) NOT NULL, -- a text column would take IDs that differ by a space at the end for one
    handled_ms BIGINT       NOT NULL,
    PRIMARY KEY (consumer, message_id),
    INDEX inbox_age (handled_ms)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
