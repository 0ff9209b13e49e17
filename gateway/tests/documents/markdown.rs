//! What is written in a document.

/// Lines of code blocks, and code within lines.
pub(crate) fn code_of(text: &str) -> Vec<String> {
    let mut code = spans_of(text);
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push(line.to_owned());
        }
    }
    code
}

/// Code blocks of one language.
pub(crate) fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1);
    let ended = blocks.filter_map(|rest| rest.split_once("```"));
    ended.map(|(block, _)| block.to_owned()).collect()
}

/// Code within lines.
pub(crate) fn spans_of(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            // A span may go over the end of a line, not over the end of a paragraph.
            prose.push_str(if line.is_empty() { "\n\n" } else { " " });
        }
    }
    let paragraphs = prose
        .split("\n\n")
        .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    paragraphs.map(ToOwned::to_owned).collect()
}

pub(crate) fn headings(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        if line.starts_with("```") {
            inside = !inside;
        }
        !inside && line.starts_with('#')
    })
}

/// A heading as links name it.
pub(crate) fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
