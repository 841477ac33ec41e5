//! Versions of a base model from left to right, and below them where each fine-tune was carried: coordinates of an
//! SVG; the template draws them.

use crate::service::{
    database::fine_tunes::{lineage::Point, standing::Standing},
    domain::registry::{base_models::BaseVersion, fine_tunes::VersionState},
};

/// The newest versions drawn, and the fine-tunes.
const COLUMNS: usize = 12;
const LANES: usize = 24;

const LEFT: usize = 180;
const STEP: usize = 96;
const TOP: usize = 72;
const LANE: usize = 30;

pub struct Lineage {
    pub width: usize,
    pub height: usize,
    /// The picture in a sentence.
    pub told: String,
    pub columns: Vec<Column>,
    /// From a version to one that was made from it, where that is not its neighbour.
    pub arcs: Vec<String>,
    pub lanes: Vec<Lane>,
}

pub struct Column {
    pub x: usize,
    pub name: String,
    pub retires: bool,
}

pub struct Lane {
    pub y: usize,
    pub name: String,
    /// `x,y x,y …` through what was carried; empty where nothing was.
    pub path: String,
    pub dots: Vec<Dot>,
}

pub struct Dot {
    pub x: usize,
    pub radius: usize,
    pub class: &'static str,
    pub told: String,
}

/// Of versions, the newest first; nothing where there is none.
pub fn draw(versions: &[BaseVersion], standings: &[Standing], points: &[Point]) -> Option<Lineage> {
    let shown: Vec<&BaseVersion> = versions.iter().take(COLUMNS).rev().collect();
    if shown.is_empty() {
        return None;
    }

    let lanes: Vec<Lane> = standings
        .iter()
        .take(LANES)
        .enumerate()
        .map(|(i, standing)| {
            let y = TOP + i * LANE;
            let dots = dots(standing, points, &shown);
            let path: Vec<String> = dots.iter().map(|dot| format!("{},{y}", dot.x)).collect();
            let path = if path.len() > 1 {
                path.join(" ")
            } else {
                String::new()
            };
            Lane {
                y,
                name: shortened(&standing.fine_tune),
                path,
                dots,
            }
        })
        .collect();
    let arcs = shown.iter().enumerate().filter_map(|(i, one)| {
        let parent = place(&shown, one.parent.as_deref()?)?;
        Some(descent(parent, x(i)))
    });

    Some(Lineage {
        width: x(shown.len() - 1) + STEP / 2,
        height: TOP + lanes.len() * LANE,
        told: format!(
            "{} versions and where {} fine-tunes were carried",
            shown.len(),
            lanes.len()
        ),
        arcs: arcs.collect(),
        columns: shown
            .iter()
            .enumerate()
            .map(|(i, one)| Column {
                x: x(i),
                name: shortened(&one.version),
                retires: one.retires_at.is_some(),
            })
            .collect(),
        lanes,
    })
}

/// Where a version stands, if it is drawn.
fn place(shown: &[&BaseVersion], version: &str) -> Option<usize> {
    shown.iter().position(|one| one.version == version).map(x)
}

fn x(column: usize) -> usize {
    LEFT + STEP / 2 + column * STEP
}

/// A line between neighbours, an arc over those between.
fn descent(from: usize, to: usize) -> String {
    if from.abs_diff(to) <= STEP {
        return format!("M{from} 36 L{to} 36");
    }
    let middle = usize::midpoint(from, to);
    format!("M{from} 36 Q{middle} 64 {to} 36")
}

/// What a name comes to in the room that it has.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 20 {
        return name.to_owned();
    }
    name.chars().take(19).chain(['…']).collect()
}

/// The source first, then in the order in which they were made; of one base the last.
fn dots(standing: &Standing, points: &[Point], shown: &[&BaseVersion]) -> Vec<Dot> {
    let source = place(shown, &standing.tuned_from).map(|x| Dot {
        x,
        radius: 5,
        class: "source",
        told: format!("{}: tuned from {}", standing.fine_tune, standing.tuned_from),
    });
    let mut dots: Vec<Dot> = source.into_iter().collect();

    for point in points
        .iter()
        .filter(|point| point.fine_tune == standing.fine_tune)
    {
        let Some(x) = place(shown, &point.base_version) else {
            continue;
        };
        let in_production = standing.production == Some(point.version);
        let (class, word) = match point.state {
            VersionState::Rejected => ("rejected", "fell short"),
            _ if in_production => ("production", "in production"),
            _ => ("made", "carried"),
        };
        let told = format!(
            "{} version {} on {}: {word}",
            point.fine_tune, point.version, point.base_version
        );
        let dot = Dot {
            x,
            radius: if in_production { 7 } else { 5 },
            class,
            told,
        };
        match dots.iter_mut().skip(1).find(|dot| dot.x == x) {
            Some(there) if there.class != "production" => *there = dot,
            Some(_) => {}
            None => dots.push(dot),
        }
    }
    dots.sort_by_key(|dot| dot.x);

    dots
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn version(name: &str, parent: Option<&str>) -> BaseVersion {
        BaseVersion {
            id: Uuid::nil().into(),
            base_model: "llama".into(),
            version: name.into(),
            uri: String::new(),
            digest: String::new(),
            size: 0,
            parent: parent.map(ToOwned::to_owned),
            licence: None,
            retires_at: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            retune: None,
        }
    }

    fn point(version: i32, base: &str, state: VersionState) -> Point {
        Point {
            fine_tune: "news".into(),
            version,
            base_version: base.into(),
            state,
        }
    }

    #[test]
    fn the_newest_is_on_the_right_and_production_is_marked() {
        let versions = [
            version("3", Some("1")),
            version("2", Some("1")),
            version("1", None),
        ];
        let standing = Standing {
            fine_tune: "news".into(),
            base_model: "llama".into(),
            tuned_from: "1".into(),
            production: Some(1),
            stands_on: Some("2".into()),
            current: "3".into(),
            is_stale: true,
            retires_at: None,
        };
        let points = [
            point(1, "2", VersionState::Published),
            point(2, "3", VersionState::Rejected),
        ];
        let lineage = draw(&versions, &[standing], &points).unwrap();
        let names: Vec<_> = lineage
            .columns
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["1", "2", "3"]);
        let classes: Vec<_> = lineage.lanes[0].dots.iter().map(|dot| dot.class).collect();
        assert_eq!(classes, ["source", "production", "rejected"]);
        assert_eq!(lineage.lanes[0].path, "228,72 324,72 420,72");
        assert_eq!(lineage.arcs, ["M228 36 L324 36", "M228 36 Q324 64 420 36"]);
        assert!(draw(&[], &[], &[]).is_none());
    }
}
