-- The inbox: which events had their effect, for each consumer group. Times are milliseconds since 1970 by the database's clock.

CREATE TABLE inbox (
    consumer   TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    handled_ms BIGINT NOT NULL,
    PRIMARY KEY (consumer, message_id)
);

CREATE INDEX inbox_age ON inbox (handled_ms);
