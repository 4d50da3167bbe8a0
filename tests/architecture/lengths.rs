//! Functions that are too long to be read at once.

/// The functions whose bodies are too long: one ends at the first brace as far left as its `fn`.
pub(crate) fn long_functions(source: &str) -> Vec<String> {
    let lines: Vec<_> = source.lines().collect();
    let starts_with_indent = |line: &str, indent: usize| {
        line.len() > indent && line.trim_start().len() == line.len() - indent
    };
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line) else {
            continue;
        };
        let rest = || lines.iter().skip(index);
        let outermost = |line: &&&str| starts_with_indent(line, indent);
        let opened = rest()
            .take_while(|line| !line.ends_with(';') && !line.ends_with('}'))
            .position(|line| starts_with_indent(line, indent) && line.ends_with('{'));
        let Some(opened) = opened else { continue };
        let closed = rest()
            .skip(opened + 1)
            .position(|line| outermost(&line) && line.trim_start().starts_with('}'));
        if closed.is_none_or(|length| length > super::LONGEST_FUNCTION) {
            found.push(name.to_owned());
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        word.starts_with("pub") || ["in", "async", "const", "unsafe", "extern"].contains(&word)
    };
    let is_function = before.split_whitespace().all(is_qualifier);
    is_function.then(|| after.split(['(', '<']).next())?
}
