//! What operators install names what there is: figures, alarms, targets of the build, versions.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const DASHBOARD: &str = "docker/grafana/retune.json";
const RULES: &str = "docker/alerts/retune.yaml";
const METRICS: &str = "docs/operate/metrics.md";

fn path_of(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text_of(file: &str) -> String {
    fs::read_to_string(path_of(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every name below `retune_`, without what Prometheus adds to a histogram's.
fn figures(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("retune_"))
        .map(family)
        .collect()
}

fn family(name: &str) -> String {
    let family = ["_bucket", "_count", "_sum"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    family.unwrap_or(name).to_owned()
}

/// The queries of a dashboard's panels.
fn queries(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .collect()
}

#[test]
fn every_figure_that_is_shown_or_alarmed_is_documented() {
    let documented = figures(&text_of(METRICS));
    for file in [DASHBOARD, RULES, "docker/chart/templates/scaling.yaml"] {
        let named = figures(&text_of(file));
        assert!(!named.is_empty(), "{file} names no figure");
        let unknown: Vec<_> = named.difference(&documented).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_documented_figure_is_one_of_the_program() {
    let described = figures(&text_of("src/service/metrics/families.rs"));
    assert_eq!(figures(&text_of(METRICS)), described);
}

#[test]
fn every_alarm_is_in_the_runbook() {
    let runbook = text_of("docs/operate/runbook.md");
    let rules = text_of(RULES);
    let alarms: Vec<_> = rules
        .split("- alert: ")
        .skip(1)
        .filter_map(|rule| rule.lines().next())
        .collect();
    assert!(alarms.len() > 5, "{alarms:?}");
    for alarm in alarms {
        assert!(runbook.contains(&format!("| `{alarm}` |")), "{alarm}");
    }
}

#[test]
fn prometheus_reads_every_rule_and_query() {
    if matches!(Command::new("promtool").arg("--version").output(), Err(e) if e.kind() == ErrorKind::NotFound)
    {
        eprintln!("promtool is not installed: rules and queries were not checked by it");
        return;
    }

    promtool("check", &path_of(RULES));
    promtool("test", &path_of("docker/alerts/retune.test.yaml"));

    let dashboard: Value = serde_json::from_str(&text_of(DASHBOARD)).expect("a dashboard");
    let queries = queries(&dashboard);
    assert!(queries.len() > 20, "{}", queries.len());
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            let query = query.replace("$__rate_interval", "5m");
            json!({"record": format!("query:{number}"), "expr": query})
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queries.yaml");
    fs::write(
        &file,
        json!({"groups": [{"name": "queries", "rules": rules}]}).to_string(),
    )
    .expect("a file");
    promtool("check", &file);
}

fn promtool(verb: &str, rules: &Path) {
    let done = Command::new("promtool")
        .args([verb, "rules"])
        .arg(rules)
        .output()
        .expect("promtool");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The layer of dependencies is built with empty sources: each target that the manifest names must be there.
#[test]
fn the_image_knows_every_target() {
    let manifest = text_of("Cargo.toml");
    let dockerfile = text_of("docker/Dockerfile");
    let targets = manifest
        .split("[[bench]]")
        .skip(1)
        .filter_map(|target| target.split('"').nth(1));
    let mut count = 0;
    for name in targets {
        let file = format!("benches/{name}.rs");
        let file = if path_of(&file).exists() {
            file
        } else {
            format!("benches/{name}/main.rs")
        };
        assert!(dockerfile.contains(&file), "{file}");
        count += 1;
    }

    let paths = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    for file in paths {
        assert!(dockerfile.contains(file), "{file}");
        count += 1;
    }
    assert!(count > 5, "only {count} targets were found");
}

#[test]
fn every_version_is_named_and_ours_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = text_of("docker/chart/Chart.yaml");
    assert!(
        chart.contains(&format!("appVersion: \"{version}\"")),
        "{chart}"
    );
    assert!(text_of("docker/compose.yaml").contains(&format!("image: retune:{version}")));
    assert!(text_of("CHANGELOG.md").contains(&format!("## [{version}]")));
    for file in ["docker/Dockerfile", "docker/compose.yaml"] {
        for image in text_of(file).lines().filter_map(image) {
            assert!(is_pinned(image), "{file}: {image}");
        }
    }
}

/// The image that a line of a Dockerfile or of a compose file names.
fn image(line: &str) -> Option<&str> {
    let line = line.trim();
    let image = line
        .strip_prefix("FROM ")
        .or_else(|| line.strip_prefix("image: "))?;
    image.split(' ').next()
}

/// Whether its tag is a version, or a day of a distribution: `3.80`, `bookworm-20250811-slim`.
fn is_pinned(image: &str) -> bool {
    let tag = image.split_once(':').map_or("", |(_, tag)| tag);
    let is_version = tag.contains('.') && tag.starts_with(|c: char| c.is_ascii_digit());
    is_version
        || tag
            .split('-')
            .any(|part| part.len() == 8 && part.starts_with("20"))
}
