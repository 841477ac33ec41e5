//! Commands, from their definitions: the help of each, as `--help` prints it.

use clap::{Command, CommandFactory};
use retune::cli::Cli;

use super::head;

pub fn page() -> String {
    let mut page = head("Commands", "the definitions of `src/cli.rs`");
    page.push_str("Exit codes: 0 done, 1 a job failed or was cancelled, 2 bad usage or input, ");
    page.push_str("3 a job is done and its model was rejected.\n");

    let mut command = without_values(Cli::command());
    // Names the subcommands in full.
    command.build();
    add(&command, &mut page);
    page
}

/// The help of a command and of those below it.
fn add(command: &Command, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let help = command.clone().render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!(
        "\n## `{name}`\n\n```text\n{}\n```\n",
        help.join("\n").trim()
    ));

    for below in command.get_subcommands() {
        if !below.is_hide_set() && below.get_name() != "help" {
            add(&without_common_options(below), page);
        }
    }
}

/// Without the options that every command has; the program's own help tells of them.
fn without_common_options(command: &Command) -> Command {
    command.clone().mut_args(|arg| {
        let is_common = arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
        if is_common { arg.hide(true) } else { arg }
    })
}

/// The same whatever this process finds in its environment.
fn without_values(command: Command) -> Command {
    command
        .mut_args(|arg| arg.hide_env_values(true))
        .mut_subcommands(without_values)
}
