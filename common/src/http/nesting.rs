//! How deep JSON is nested.

/// The most arrays and objects in one another that are read: what `serde_json` reads.
pub const MAX_JSON_DEPTH: usize = 127;

/// The most arrays and objects that are open at once in this JSON; it need not be whole.
pub fn json_depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            _ if in_string => {}
            b'[' | b'{' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn only_what_is_open_at_once_counts_and_brackets_in_texts_do_not() {
        for (json, depth) in [
            ("1", 0),
            ("[[],[]]", 2),
            (r#"{"a":[{"b":1}],"c":[]}"#, 3),
            (r#"["[[{","\"[",{}]"#, 2),
            ("[[[", 3),
        ] {
            assert_eq!(json_depth(json.as_bytes()), depth, "{json}");
        }
    }

    #[test]
    fn the_limit_is_the_one_at_which_reading_stops() {
        let read = |depth| serde_json::from_str::<serde_json::Value>(&nested(depth));
        assert!(read(MAX_JSON_DEPTH).is_ok());
        assert!(read(MAX_JSON_DEPTH + 1).is_err());
    }
}
