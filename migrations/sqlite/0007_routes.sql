-- What an operator set beside the configuration file's routes, or in place of one of the same name.
CREATE TABLE routes (
    name TEXT PRIMARY KEY,
    -- A [[route]] table as JSON; nothing where the row only pauses a route of the file.
    definition TEXT,
    paused INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
