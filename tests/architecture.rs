//! The rules between modules, read from the source (ARCHITECTURE.md).

mod circles;
mod texture;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file under a folder of `src/`, and `<folder>.rs` beside it, without its tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![root.join(folder).with_extension("rs")];
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    let read = |path: PathBuf| Some((fs::read_to_string(&path).ok()?, path));
    let texts: Vec<(String, PathBuf)> = files.into_iter().filter_map(read).collect();
    let tests: Vec<PathBuf> = texts
        .iter()
        .flat_map(|(text, path)| test_files(text, path))
        .collect();

    let sources: Vec<_> = texts
        .into_iter()
        .filter(|(_, path)| !tests.contains(path))
        .map(|(text, path)| {
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            (path, code.to_owned())
        })
        .collect();
    assert!(!sources.is_empty(), "src/{folder} has files");
    sources
}

/// The files of modules that a file declares for its tests alone.
fn test_files<'t>(text: &'t str, path: &'t Path) -> impl Iterator<Item = PathBuf> + 't {
    // A package's own file stands beside its modules, every other above them.
    let is_root = path.file_name().is_some_and(|name| name == "lib.rs");
    let folder = if is_root {
        path.parent().unwrap_or(path).into()
    } else {
        path.with_extension("")
    };
    text.split("#[cfg(test)]\n")
        .skip(1)
        .filter_map(move |after| {
            let declared = after.lines().next()?.strip_suffix(';')?;
            let name = declared.rsplit_once("mod ")?.1;
            Some(folder.join(name).with_extension("rs"))
        })
}

/// Every module of the crate by its path from the root, with its code.
fn all_sources() -> Vec<(Vec<String>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let modules = sources("").into_iter().filter_map(|(path, code)| {
        let path = path.strip_prefix(&root).ok()?.with_extension("");
        let names: Vec<String> = path
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["lib"] => Some((Vec::new(), code)),
            // A package of its own, which the crate knows by this name.
            ["engine", "lib"] => Some((vec!["engine".to_owned()], code)),
            ["main"] => None,
            _ => Some((names, code)),
        }
    });
    modules.collect()
}

/// Lines of code (no comments) of a folder that name one of `words`.
fn naming(folder: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in sources(folder) {
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_search_finds_what_is_there() {
    assert!(!naming("engine/training", &["burn::"]).is_empty());
    assert!(!naming("service/database", &["sqlx::query"]).is_empty());
}

#[test]
fn the_engine_knows_no_service() {
    // What its package does not depend on, the compiler refuses; these are everybody's.
    let foreign = [
        "Instant::now",
        "SystemTime",
        "rand::rng",
        "thread_rng",
        "std::fs",
        "std::env::",
    ];
    assert_eq!(naming("engine", &foreign), Vec::<String>::new());
}

#[test]
fn the_engine_depends_on_arithmetic_alone() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
    for foreign in ["tokio", "sqlx", "axum", "object_store", "utoipa", "retune"] {
        let named = dependencies
            .lines()
            .filter(|line| line.starts_with(foreign));
        assert_eq!(named.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn words_that_cross_a_wall_know_nobody() {
    let foreign = [
        "crate::engine",
        "crate::storage",
        "crate::artifacts",
        "crate::pipeline",
        "crate::service",
        "crate::cli",
    ];
    assert_eq!(naming("contract", &foreign), Vec::<String>::new());
}

#[test]
fn files_know_no_phases() {
    let foreign = ["crate::pipeline", "pipeline::"];
    for folder in ["artifacts", "storage"] {
        assert_eq!(naming(folder, &foreign), Vec::<String>::new());
    }
}

#[test]
fn the_service_knows_no_tensor() {
    let foreign = [
        "burn::",
        "crate::engine",
        "engine::",
        "retune_engine",
        "crate::artifacts",
        "artifacts::",
    ];
    assert_eq!(naming("service", &foreign), Vec::<String>::new());
}

#[test]
fn sql_and_object_stores_each_have_one_home() {
    let elsewhere = |home: &str, word: &str| -> Vec<String> {
        let folders = [
            "engine",
            "service",
            "pipeline",
            "artifacts",
            "storage",
            "cli",
        ];
        let all = folders.iter().flat_map(|folder| naming(folder, &[word]));
        all.filter(|line| !line.contains(home)).collect()
    };
    assert_eq!(
        elsewhere("src/service/database", "sqlx::query"),
        Vec::<String>::new()
    );
    assert_eq!(
        elsewhere("src/storage", "object_store::"),
        Vec::<String>::new()
    );
}

#[test]
fn nobody_reads_from_the_entrances() {
    for folder in ["engine", "pipeline", "artifacts", "storage"] {
        assert_eq!(
            naming(
                folder,
                &["service::api", "service::dashboard", "crate::cli"]
            ),
            Vec::<String>::new()
        );
    }
    for folder in [
        "service/domain",
        "service/database",
        "service/registry",
        "service/queue",
        "service/worker",
    ] {
        assert_eq!(
            naming(folder, &["::api::", "::dashboard", "crate::cli"]),
            Vec::<String>::new()
        );
    }
}

/// Whether a line compares what tells a key in a way that ends at the first difference.
fn compares_early(line: &str) -> bool {
    let told = ["secret", "sha256()", "reveal()", "signature", "bearer("];
    let early = ["==", "!=", " = $", ".eq(", ".ne(", ".cmp("];
    told.iter().any(|word| line.contains(word)) && early.iter().any(|sign| line.contains(sign))
}

#[test]
fn secrets_are_compared_in_constant_time() {
    for line in [
        "if row.secret_sha256 == given {",
        "WHERE k.secret_sha256 = $1",
        "known.reveal().eq(&given)",
        "if given != stored.sha256() {",
    ] {
        assert!(compares_early(line), "{line}");
    }
    let lines = naming(
        "service",
        &["secret", "sha256()", "reveal()", "signature", "bearer("],
    );
    let early: Vec<_> = lines
        .into_iter()
        .filter(|line| {
            let code = line.split_once(": ").map_or("", |(_, code)| code);
            // A rotation is written, not compared.
            compares_early(code) && !code.starts_with("SET ")
        })
        .collect();
    // The one by an index, which says why.
    let by_index =
        |line: &String| line.ends_with("WHERE t.secret_sha256 = $1 AND m.id = t.base_model");
    assert!(early.len() == 1 && early.iter().all(by_index), "{early:#?}");
    let constant = naming("service", &["ct_eq("]);
    // Keys of callers, and tokens of the dashboard's forms.
    let places = ["access.rs", "forms.rs"];
    let all_there = places
        .iter()
        .all(|file| constant.iter().any(|line| line.contains(file)));
    assert!(constant.len() == places.len() && all_there, "{constant:?}");
}

#[test]
fn what_holds_a_secret_has_no_comparison_that_ends_early() {
    let mut held = 0;
    for (path, code) in sources("service") {
        for (before, _) in code
            .match_indices("pub struct Secret(")
            .map(|(i, _)| code.split_at(i))
        {
            let attributes = before.rsplit("\n\n").next().unwrap_or_default();
            let derived = attributes
                .lines()
                .filter(|line| line.starts_with("#[derive("));
            assert!(
                derived.clone().all(|line| !line.contains("PartialEq")),
                "{}",
                path.display()
            );
            held += derived.count();
        }
    }
    assert_eq!(held, 2, "keys of callers, and of signatures");
}

#[test]
fn no_family_names_a_group() {
    assert_eq!(
        naming("engine/network/families", &["ermut", "ymmetry", "Group"]),
        Vec::<String>::new()
    );
}
