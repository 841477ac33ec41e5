//! Two habits of `docs/develop/style.md` that can be counted: they may only become rarer.

use super::all_sources;

/// Named closures of `src/`. Lower it to what the test says when some have gone.
const NAMED_CLOSURES: usize = 64;

/// Functions of `src/` with a tuple for an argument. Lower it likewise.
const TUPLE_ARGUMENTS: usize = 3;

#[test]
fn named_closures_and_tuple_arguments_only_become_rarer() {
    let sources: Vec<String> = all_sources()
        .iter()
        .map(|(_, code)| on_one_line(code))
        .collect();
    let closures: usize = sources.iter().map(|code| named_closures(code)).sum();
    let tuples: usize = sources.iter().map(|code| tuple_arguments(code)).sum();
    println!("{closures} named closures, {tuples} functions with a tuple for an argument");
    assert!(
        closures > 0 && tuples > 0,
        "remove this test, or mend it: nothing is counted"
    );
    assert!(
        closures <= NAMED_CLOSURES,
        "{closures} named closures: write a method or a chain"
    );
    assert!(
        tuples <= TUPLE_ARGUMENTS,
        "{tuples} functions with a tuple: write a struct"
    );
}

/// Code without comments, one space between two words.
fn on_one_line(code: &str) -> String {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ")
}

/// How often code says `let name = |…`.
fn named_closures(code: &str) -> usize {
    code.split("let ")
        .skip(1)
        .filter(|rest| names_a_closure(rest))
        .count()
}

fn names_a_closure(rest: &str) -> bool {
    let rest = rest.strip_prefix("mut ").unwrap_or(rest);
    let value = rest.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
    let Some(value) = value.strip_prefix(" = ") else {
        return false;
    };
    let value = value.strip_prefix("async ").unwrap_or(value);
    value
        .strip_prefix("move ")
        .unwrap_or(value)
        .starts_with('|')
}

/// How many functions have an argument `name: (…)` or `name: &(…)`.
fn tuple_arguments(code: &str) -> usize {
    let signatures = code.split("fn ").skip(1).map(arguments);
    signatures
        .filter(|text| text.contains(": (") || text.contains(": &("))
        .count()
}

/// What stands between the parentheses after a function's name.
fn arguments(rest: &str) -> &str {
    let start = rest.find('(').unwrap_or(rest.len());
    // `fn(f32) -> f32` and prose have no name before it.
    if start == 0 || !rest.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
        return "";
    }
    let mut depth = 0;
    for (at, letter) in rest[start..].char_indices() {
        match letter {
            '(' => depth += 1,
            ')' if depth == 1 => return &rest[start..start + at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    ""
}

#[test]
fn what_is_counted_is_found() {
    let code = on_one_line(
        "let a = |x| x;\nlet mut b =\n    move |x: u8| x;\n// let c = |x| x;\nlet d = e || f;\nlet g = [1];\n\
         fn one((a, b): (u8, u8)) {}\nfn two(a: &(u8, u8), b: u8) -> (u8, u8) {}\nfn three(a: fn(u8) -> u8) {}",
    );
    assert_eq!((named_closures(&code), tuple_arguments(&code)), (2, 2));
}
