//! Commands that no test runs: they are sound shell, and name programs, options, files and requests that there are.

use std::{fs, process::Command as Process};

use clap::{Command, CommandFactory};
use retune::{cli::Cli, service::api};

use super::{FENCE, documents, repository, text_of};

/// Blocks of commands: the first kind is run.
const LANGUAGES: [&str; 3] = ["sh", "console", "bash"];

/// How a page says it.
const NOT_RUN: &str = "not run by a test";

/// Programs whose arguments are looked at.
const PROGRAMS: [&str; 4] = ["retune", "make", "cargo", "curl"];

/// Folders of the repository that a command may name files of.
const FOLDERS: [&str; 7] = [
    "./python",
    "benches/",
    "config/",
    "docker/",
    "examples/",
    "python/",
    "tests/",
];

/// A block of a document, and what of its section stands before it.
struct Block<'t> {
    language: &'t str,
    text: &'t str,
    before: &'t str,
    after: &'t str,
}

/// The blocks of commands of a document.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find(FENCE).map(|found| at + found) {
        let opened = start + FENCE.len();
        let (language, _) = text[opened..]
            .split_once('\n')
            .expect("a fence ends its line");
        let begin = opened + language.len() + 1;
        let end = begin + text[begin..].find(FENCE).expect("a fence is closed");
        if LANGUAGES.contains(&language) {
            let section = text[..start].rfind("\n## ").unwrap_or(0);
            let next = text[end..]
                .find("\n## ")
                .map_or(text.len(), |found| end + found);
            blocks.push(Block {
                language,
                text: &text[begin..end],
                before: &text[section..start],
                after: &text[end..next],
            });
        }
        at = end + FENCE.len();
    }
    blocks
}

#[test]
fn every_block_is_sound_shell() {
    let mut count = 0;
    for document in documents() {
        for block in blocks(&text_of(&document)) {
            let checked = Process::new("bash").args(["-nc", block.text]).output();
            let checked = checked.expect("bash");
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(
                checked.status.success() && said.is_empty(),
                "{}:\n{}\n{said}",
                document.display(),
                block.text
            );
            count += 1;
        }
    }
    assert!(count > 30, "only {count} blocks were found");
}

/// The first page and the guide say of each command that no test runs that none does, and why.
#[test]
fn a_page_says_what_no_test_runs() {
    let read_first = documents()
        .into_iter()
        .filter(|document| document.ends_with("README.md") || document.starts_with("docs/guide"));
    for document in read_first.filter(|document| !document.starts_with("docker")) {
        let text = text_of(&document);
        let head = text.split("\n## ").next().unwrap_or_default();
        for block in blocks(&text).iter().filter(|block| block.language != "sh") {
            let says = [head, block.before, block.after, block.text];
            assert!(
                says.iter().any(|text| text.contains(NOT_RUN)),
                "{}: this block is neither run nor said to be {NOT_RUN}:\n{}",
                document.display(),
                block.text
            );
        }
    }
}

#[test]
fn every_command_names_what_there_is() {
    let known = Known::read();
    let mut count = 0;
    for document in documents() {
        let text = text_of(&document);
        let blocks = blocks(&text);
        // Lines that another program is told within a block are no commands.
        let blocks = blocks.iter().filter(|block| !block.text.contains("<<"));
        let in_blocks = blocks.flat_map(|block| lines(block.text));
        let in_prose = text.split('`').skip(1).step_by(2).map(str::to_owned);
        for line in in_blocks.chain(in_prose.filter(|code| !code.contains('\n'))) {
            for command in commands(&line) {
                let fault = known.fault_of(&command);
                let fault = fault.unwrap_or_default();
                assert!(fault.is_empty(), "{}: {line}: {fault}", document.display());
                count += usize::from(PROGRAMS.contains(&program(&command)));
            }
        }
    }
    assert!(count > 100, "only {count} commands were found");
}

/// Lines of a block, those that end with a backslash joined to the next.
fn lines(block: &str) -> Vec<String> {
    block
        .replace("\\\n", " ")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The commands of a line as words, without settings before them and comments behind.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    for word in words(line) {
        if word.starts_with('#') {
            break;
        }
        if ["&&", "||", "|", ";", "--"].contains(&word.as_str()) {
            commands.push(Vec::new());
        } else if let Some(command) = commands.last_mut() {
            let is_setting = word
                .split_once('=')
                .is_some_and(|(name, _)| is_variable(name));
            if !command.is_empty() || !(is_setting || word == "export") {
                command.push(word);
            }
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// The name of a command's program.
fn program(command: &[String]) -> &str {
    let first = command.first().map_or("", String::as_str);
    first.rsplit('/').next().unwrap_or_default()
}

/// Whether this names a variable, or stands for what a reader puts in its place.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}

/// Words apart by spaces that no quotes hold together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in line.chars() {
        if quote == Some(letter) {
            quote = None;
        } else if quote.is_none() && ['"', '\''].contains(&letter) {
            quote = Some(letter);
        } else if quote.is_none() && letter.is_whitespace() {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What commands may name.
struct Known {
    program: Command,
    makefile: String,
    manifest: String,
    requests: Vec<(String, String)>,
}

impl Known {
    fn read() -> Self {
        let mut program = Cli::command();
        // Gives the options that all have to each.
        program.build();
        let file = |name: &str| fs::read_to_string(repository().join(name)).expect("our own file");
        let document = serde_json::to_value(api::openapi()).expect("a document");
        let paths = document["paths"].as_object().expect("paths").iter();
        let requests = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        });
        Self {
            program,
            makefile: file("Makefile"),
            manifest: file("Cargo.toml"),
            requests: requests.collect(),
        }
    }

    /// What a command names and is not there.
    fn fault_of(&self, command: &[String]) -> Option<String> {
        let arguments = command.get(1..)?;
        let own = match program(command) {
            "retune" => self.fault_of_ours(arguments),
            "make" => self.fault_of_make(arguments),
            "cargo" => self.fault_of_cargo(arguments),
            "curl" => self.fault_of_curl(arguments),
            _ => None,
        };
        own.or_else(|| missing_file(command))
    }

    /// Of our own program: commands below commands, and their long options.
    fn fault_of_ours(&self, arguments: &[String]) -> Option<String> {
        let mut command = &self.program;
        for word in arguments {
            if let Some(below) = command.find_subcommand(word) {
                command = below;
            } else if command.has_subcommands() && !word.starts_with('-') && !is_variable(word) {
                return Some(format!("{} has no {word}", command.get_name()));
            } else if let Some(option) = word.strip_prefix("--") {
                let name = option.split('=').next().unwrap_or_default();
                let mut known = command.get_arguments().filter_map(clap::Arg::get_long);
                if !known.any(|long| long == name) {
                    return Some(format!("{} has no --{name}", command.get_name()));
                }
            }
        }
        None
    }

    fn fault_of_make(&self, arguments: &[String]) -> Option<String> {
        let mut targets = arguments
            .iter()
            .filter(|word| !word.contains('=') && !word.starts_with('-'));
        let is_there = |target: &str| {
            let rule = format!("{target}:");
            self.makefile.lines().any(|line| line.starts_with(&rule))
        };
        let missing = targets.find(|target| !is_there(target))?;
        Some(format!("no target {missing}"))
    }

    fn fault_of_cargo(&self, arguments: &[String]) -> Option<String> {
        let pairs = arguments.iter().zip(arguments.iter().skip(1));
        let mut named =
            pairs.filter(|(option, _)| ["--bench", "--test"].contains(&option.as_str()));
        let is_there = |name: &str| self.manifest.contains(&format!("name = \"{name}\""));
        let (option, missing) = named.find(|(_, name)| !is_there(name))?;
        Some(format!("no {option} {missing}"))
    }

    fn fault_of_curl(&self, arguments: &[String]) -> Option<String> {
        let after = |option: &str| {
            let at = arguments.iter().position(|word| word == option)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let method = after("-X").unwrap_or("GET");
        let mut paths = arguments
            .iter()
            .filter_map(|word| Some(&word[word.find("/v1/")?..]));
        let is_there = |path: &str| {
            let mut requests = self.requests.iter();
            requests.any(|(known, template)| known == method && fits(path, template))
        };
        let missing = paths.find(|path| !is_there(path))?;
        Some(format!("no request {method} {missing}"))
    }
}

/// Whether a path is one of a template: `/v1/transfers/$ID` of `/v1/transfers/{id}`.
fn fits(path: &str, template: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (given, known): (Vec<_>, Vec<_>) =
        (path.split('/').collect(), template.split('/').collect());
    given.len() == known.len()
        && given
            .iter()
            .zip(&known)
            .all(|(given, known)| given == known || known.starts_with('{'))
}

/// A file of the repository that a command names and that is not there; a path alone is no command.
fn missing_file(command: &[String]) -> Option<String> {
    if command.len() < 2 {
        return None;
    }
    let is_ours = |word: &&String| {
        FOLDERS.iter().any(|folder| word.starts_with(folder))
            && !word.contains(['*', '<', '{', '…'])
    };
    let mut files = command.iter().filter(is_ours);
    let missing = files.find(|file| !repository().join(file).exists())?;
    Some(format!("no file {missing}"))
}
