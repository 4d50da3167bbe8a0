//! The tables of commands and options, compared with `--help`.

use super::table::{assert_listed, rows};
use crate::process::Sandbox;

const PAGE: &str = "docs/reference/cli.md";
/// The page with the options of `import`.
const IMPORT_PAGE: &str = "docs/guides/import.md";
/// Wrapped descriptions are indented by more than any command or option.
const WRAPPED: &str = "        ";

/// A command as its help describes it.
pub(super) struct Command {
    /// Its name, such as `migrate up`.
    pub(super) name: String,
    /// Its help.
    pub(super) help: String,
    /// The usage, such as `export CUSTOMER_NUMBER [--output FILE]`.
    usage: String,
    /// The arguments, such as `CUSTOMER_NUMBER` and `--output FILE`.
    arguments: Vec<String>,
}

fn help(words: &[&str]) -> String {
    let arguments = [words, &["--help"]].concat();
    Sandbox::new().run(&arguments).printed()
}

/// Returns the entries of a section of help, each in one line.
fn entries(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    let mut entries: Vec<String> = Vec::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        match entries.last_mut() {
            Some(entry) if line.starts_with(WRAPPED) => entry.push_str(line.trim_start()),
            _ => entries.push(line.trim_start().to_owned()),
        }
    }
    entries
}

/// Returns an option with its default, or else with the name of its value: `--format csv`.
fn option(entry: &str) -> String {
    let (option, description) = entry.split_once("  ").unwrap();
    let (flag, name) = option.split_once(' ').unwrap_or((option, ""));
    let default = description.split_once("[default: ");
    let default = default.and_then(|(_, rest)| rest.strip_suffix(']'));
    let value = default.unwrap_or_else(|| name.trim_matches(['<', '>']));
    format!("{flag} {value}").trim_end().to_owned()
}

fn command(words: &[&str], help: &str) -> Command {
    let name = words.join(" ");
    let usage = help
        .lines()
        .find_map(|line| line.strip_prefix("Usage: contact-service "));
    let usage = usage.unwrap();
    let mut shown = vec![name.clone()];
    let mut arguments: Vec<String> = Vec::new();
    for argument in entries(help, "Arguments:") {
        let (argument, _) = argument.split_once("  ").unwrap();
        arguments.push(argument.trim_matches(['<', '>']).to_owned());
    }
    shown.extend(arguments.clone());
    let options = entries(help, "Options:").into_iter();
    for entry in options.filter(|entry| entry.starts_with("--")) {
        let option = option(&entry);
        let flag = option.split(' ').next().unwrap();
        let is_required = usage.contains(&format!(" {flag} <"));
        shown.push(if is_required {
            option.clone()
        } else {
            format!("[{option}]")
        });
        arguments.push(option);
    }
    Command {
        name,
        help: help.to_owned(),
        usage: shown.join(" "),
        arguments,
    }
}

/// Returns the commands below the command of these words, which are its own if it has none.
pub(super) fn commands(words: &[&str]) -> Vec<Command> {
    let help = help(words);
    let subcommands = entries(&help, "Commands:").into_iter();
    let subcommands: Vec<_> = subcommands
        .filter(|entry| !entry.starts_with("help "))
        .flat_map(|entry| commands(&[words, &[entry.split(' ').next().unwrap()]].concat()))
        .collect();
    if subcommands.is_empty() {
        vec![command(words, &help)]
    } else {
        subcommands
    }
}

#[test]
fn cli_page_lists_all_commands_with_their_usage() {
    let rows = rows(PAGE, "command").into_iter();
    let listed = rows.map(|row| row.code("command").unwrap().to_owned());
    let existing = commands(&[]).into_iter().map(|command| command.usage);
    let help = "help [COMMAND]".to_owned();
    assert_listed(PAGE, listed, existing.chain([help]));
}

#[test]
fn pages_list_all_options_of_each_command() {
    let of_import = rows(IMPORT_PAGE, "option").into_iter().map(|row| {
        let option = row.code("option").unwrap();
        format!("import: {option}")
    });
    let listed = rows(PAGE, "option").into_iter().map(|row| {
        let option = row.code("option").unwrap();
        format!("{}: {option}", row.section)
    });
    let existing = commands(&[]).into_iter().flat_map(|command| {
        let lines = command.arguments.into_iter();
        lines.map(move |argument| format!("{}: {argument}", command.name))
    });
    assert_listed(PAGE, listed.chain(of_import), existing);
}
