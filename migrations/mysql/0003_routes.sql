-- What an operator set beside the configuration file's routes, or in place of one of the same name.
CREATE TABLE routes (
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    -- A [[route]] table as JSON; nothing where the row only pauses a route of the file.
    definition MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin CHECK (json_valid(definition)),
    paused BOOLEAN NOT NULL,
    updated_at BIGINT NOT NULL
) ENGINE = InnoDB;
