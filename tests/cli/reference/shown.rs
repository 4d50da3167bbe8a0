//! The commands that the pages show, compared with `--help`.

use std::collections::BTreeMap;

use super::{
    commands::commands,
    table::{names, read},
};

const FOLDERS: [&str; 4] = ["docs", "docs/guides", "docs/operations", "docs/development"];
const OTHER_PAGES: [&str; 3] = ["README.md", "helm/README.md", "examples/java/README.md"];
/// The program of a command: the installed one, or that of a checkout.
const PROGRAMS: [&str; 3] = ["contact-service ", "cargo run -- ", "cargo run -q -- "];
/// Ends of a command within a line.
const ENDS: [char; 8] = ['|', ';', '&', '#', '(', ')', '`', '>'];

/// The code of a page: its blocks line by line, with continued lines joined, and its code spans.
fn code(page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, part) in read(page).split("```").enumerate() {
        if index % 2 == 1 {
            let joined = part.replace("\\\n", " ");
            lines.extend(joined.lines().map(str::to_owned));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            lines.extend(spans.map(str::to_owned));
        }
    }
    lines
}

/// Commands of the program in a line of code, without the program.
fn shown(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for command in line.split(ENDS) {
        let mut command = command.trim_start();
        // Settings before the program.
        while let Some((first, rest)) = command.split_once(' ')
            && first.contains('=')
        {
            command = rest.trim_start();
        }
        let program = PROGRAMS
            .iter()
            .find_map(|program| command.strip_prefix(program));
        found.extend(program.map(|command| command.trim().to_owned()));
    }
    found
}

/// Returns what is wrong with a command; `None` for one that exists with all of its options.
fn fault(command: &str, helps: &BTreeMap<String, String>) -> Option<String> {
    let is_it = |name: &&String| {
        let rest = command.strip_prefix(name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let Some(name) = helps.keys().find(is_it) else {
        return Some(format!("`{command}` is no command"));
    };
    let words = command.split_whitespace();
    let options = words.filter(|word| word.starts_with("--"));
    let mut options = options.map(|option| option.split('=').next().unwrap_or(option));
    let missing = options.find(|option| !helps[name].contains(&format!(" {option}")))?;
    Some(format!("`{name}` has no {missing}: {command}"))
}

#[test]
fn pages_show_existing_commands_and_options() {
    let names_of = |folder: &str| {
        let files = names(folder).into_iter();
        let pages = files.filter(|name| name.strip_suffix(".md").is_some());
        pages
            .map(|name| format!("{folder}/{name}"))
            .collect::<Vec<_>>()
    };
    let pages = FOLDERS.into_iter().flat_map(names_of);
    let pages = pages.chain(OTHER_PAGES.map(str::to_owned));
    let helps: BTreeMap<_, _> = commands(&[])
        .into_iter()
        .map(|command| (command.name, command.help))
        .collect();
    let (mut count, mut faults) = (0, Vec::new());
    for page in pages {
        for command in code(&page).iter().flat_map(|line| shown(line)) {
            count += 1;
            let fault = fault(&command, &helps);
            faults.extend(fault.map(|fault| format!("{page}: {fault}")));
        }
    }
    assert!(count > 30, "only {count} commands");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn faults_of_shown_commands_are_found() {
    let helps = BTreeMap::from([("migrate up".to_owned(), "  --distributed  Runs".to_owned())]);
    assert_eq!(fault("migrate up --distributed", &helps), None);
    assert!(fault("migrate down", &helps).is_some());
    assert!(fault("migrate up --quietly", &helps).is_some());
    let line = "DATABASE_URL=x contact-service migrate up --a | tee; cargo run -q -- serve";
    assert_eq!(shown(line), ["migrate up --a", "serve"]);
}
