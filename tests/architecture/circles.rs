//! No module imports itself by way of others, read from the `use` lines and the paths within code.
//!
//! A module and all that is below it are one place: a file that takes from another folder makes an arrow from its own
//! folder to that one, as far down as the two paths part. So a circle is seen too that leads into a folder by one file
//! and out of it by another.

use std::collections::{BTreeMap, BTreeSet};

use super::all_sources;

/// A module or an item: its names from the root of the crate.
type Path = Vec<String>;

/// The modules of the crate and what each takes from where.
struct Imports {
    modules: BTreeSet<Path>,
    /// By module: whether it gives on what it takes, and the path as it is written.
    uses: BTreeMap<Path, Vec<(bool, Path)>>,
    /// What a module gives on, by its own path for it.
    exports: BTreeMap<Path, Path>,
}

impl Imports {
    fn read() -> Self {
        let sources = all_sources();
        let modules = sources.iter().map(|(path, _)| path.clone()).collect();
        let uses = sources
            .into_iter()
            .map(|(path, code)| {
                let inline = inline(&code).into_iter().map(|path| (false, path));
                (path, statements(&code).into_iter().chain(inline).collect())
            })
            .collect();
        let mut imports = Self {
            modules,
            uses,
            exports: BTreeMap::new(),
        };
        for (module, uses) in &imports.uses {
            for (gives_on, path) in uses {
                let Some(from) = imports.resolved(module, path) else {
                    continue;
                };
                if *gives_on && let Some(name) = path.last() {
                    imports
                        .exports
                        .insert([&module[..], std::slice::from_ref(name)].concat(), from);
                }
            }
        }
        imports
    }

    /// `None` for what is no module of this crate.
    fn resolved(&self, module: &Path, path: &Path) -> Option<Path> {
        if path[0] == "crate" {
            let package = module.iter().take(1).filter(|folder| *folder == "engine");
            return Some(package.chain(&path[1..]).cloned().collect());
        }
        let ups = path.iter().take_while(|name| *name == "super").count();
        let skipped = ups + usize::from(path[0] == "self");
        let place = [&module[..module.len().checked_sub(ups)?], &path[skipped..]].concat();
        let is_ours = skipped > 0 || self.modules.contains(&place[..=module.len()]);
        is_ours.then_some(place)
    }

    /// The module in which something is defined.
    fn home(&self, path: &[String], depth: usize) -> Path {
        let is_module = |end: &usize| self.modules.contains(&path[..*end]);
        let end = (0..=path.len()).rev().find(is_module).unwrap_or_default();
        match path.get(..=end).and_then(|name| self.exports.get(name)) {
            Some(from) if depth < 8 => self.home(&[from, &path[end + 1..]].concat(), depth + 1),
            _ => path[..end].to_vec(),
        }
    }

    /// The places that each place reads from, of one folder: what is above a module or below it is its own.
    fn arrows(&self) -> BTreeMap<Path, BTreeSet<Path>> {
        let mut arrows: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
        for (module, uses) in &self.uses {
            let paths = uses
                .iter()
                .filter_map(|(_, path)| self.resolved(module, path));
            for home in paths.map(|path| self.home(&path, 0)) {
                if let Some((from, to)) = places(module, &home) {
                    arrows.entry(from).or_default().insert(to);
                }
            }
        }
        arrows
    }
}

/// Where two modules' paths part; `None` where one is above the other, or they are the same.
fn places(from: &[String], to: &[String]) -> Option<(Path, Path)> {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    Some((from.get(..=shared)?.to_vec(), to.get(..=shared)?.to_vec()))
}

/// The paths of the `use` statements of a file, each with whether it is given on.
fn statements(code: &str) -> Vec<(bool, Path)> {
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for statement in code.split(';') {
        let start = statement
            .rfind("\nuse ")
            .or_else(|| statement.rfind("\npub use "));
        let start = start.or_else(|| statement.rfind("\npub(super) use "));
        let start = start.or_else(|| statement.rfind("\npub(crate) use "));
        let Some(statement) = start.map(|at| &statement[at + 1..]) else {
            continue;
        };
        let Some((before, tree)) = statement.split_once("use ") else {
            continue;
        };
        let mut paths = Vec::new();
        flatten(tree.trim(), &[], &mut paths);
        found.extend(
            paths
                .into_iter()
                .map(|path| (before.starts_with("pub"), path)),
        );
    }
    found
}

/// The paths from `crate` or `super` that stand within code.
fn inline(code: &str) -> Vec<Path> {
    let lines = code.lines().map(str::trim_start).filter(|line| {
        let is_use = line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
        !line.starts_with("//") && !is_use
    });
    let code = lines.collect::<Vec<_>>().join("\n");
    let is_of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let words = code.split(|letter| !is_of_path(letter));
    words
        .filter(|word| word.starts_with("crate::") || word.starts_with("super::"))
        .map(|word| {
            word.trim_end_matches(':')
                .split("::")
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn flatten(tree: &str, before: &[String], found: &mut Vec<Path>) {
    if let Some(inner) = tree
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        let (mut depth, mut start) = (0, 0);
        for (at, letter) in inner.char_indices().chain([(inner.len(), ',')]) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let part = inner[start..at].trim();
                    if !part.is_empty() {
                        flatten(part, before, found);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
    } else if let Some((name, rest)) = tree.split_once("::") {
        flatten(
            rest.trim(),
            &[before, &[name.trim().to_owned()]].concat(),
            found,
        );
    } else {
        let name = tree.split_whitespace().next().unwrap_or_default();
        found.push([before, &[name.to_owned()]].concat());
    }
}

/// A way from a place back to it, if there is one.
fn circle(arrows: &BTreeMap<Path, BTreeSet<Path>>, start: &Path) -> Option<Vec<String>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in &arrows[way[way.len() - 1]] {
            if next == start {
                return Some(way.iter().map(|path| path.join("::")).collect());
            }
            if arrows.contains_key(next) && seen.insert(next) {
                ways.push(way.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let imports = Imports::read();
    let arrows = imports.arrows();
    assert!(
        arrows.values().map(BTreeSet::len).sum::<usize>() > 500,
        "hardly an import is seen"
    );
    let circles: BTreeSet<Vec<String>> = arrows
        .keys()
        .filter_map(|module| circle(&arrows, module))
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_through_a_folder_would_be_found() {
    let path = |text: &str| -> Path { text.split("::").map(str::to_owned).collect() };
    let module = |name: &str, takes: &str| (path(name), vec![(false, path(takes))]);
    let imports = Imports {
        modules: ["a", "a::in", "a::out", "b", "b::deep"].map(path).into(),
        uses: BTreeMap::from([
            module("b::deep", "crate::a::in::Thing"),
            module("a::out", "crate::b"),
            module("a", "crate::a::out"),
        ]),
        exports: BTreeMap::new(),
    };
    let arrows = imports.arrows();
    assert_eq!(
        arrows,
        BTreeMap::from([
            (path("a"), BTreeSet::from([path("b")])),
            (path("b"), BTreeSet::from([path("a")])),
        ])
    );
    assert!(circle(&arrows, &path("a")).is_some());
}

#[test]
fn a_circle_would_be_found() {
    let path = |name: &str| vec![name.to_owned()];
    let [a, b, c] = [path("a"), path("b"), path("c")];
    let arrows = BTreeMap::from([
        (a.clone(), BTreeSet::from([b.clone()])),
        (b.clone(), BTreeSet::from([c.clone()])),
        (c, BTreeSet::from([b.clone()])),
    ]);
    assert_eq!(circle(&arrows, &a), None);
    assert_eq!(
        circle(&arrows, &b),
        Some(vec!["b".to_owned(), "c".to_owned()])
    );
    assert_eq!(
        inline("\nuse super::x;\n    // super::y\n    let a = super::b::C::new(crate::d::e);\n"),
        [
            ["super", "b", "C", "new"].map(str::to_owned).to_vec(),
            ["crate", "d", "e"].map(str::to_owned).to_vec(),
        ]
    );
    assert_eq!(
        statements("\nuse x;\npub use a::{b, c::{d as e, self}};"),
        [
            (false, path("x")),
            (true, vec!["a".into(), "b".into()]),
            (true, vec!["a".into(), "c".into(), "d".into()]),
            (true, vec!["a".into(), "c".into(), "self".into()]),
        ]
    );
}
