//! The rows as pictures.

use std::{error::Error, fmt::Write};

use super::table::{Groups, Widths, accuracy, mean_of};

const COLOURS: [(&str, &str); 6] = [
    ("identity", "#999999"),
    ("weight matching", "#e69f00"),
    ("FGMT as published", "#56b4e9"),
    ("FGMT", "#0072b2"),
    ("oracle", "#009e73"),
    ("random π", "#cc79a7"),
];

fn legend(svg: &mut String, names: &[(&str, &str)], y: usize) -> std::fmt::Result {
    for (i, (name, colour)) in names.iter().enumerate() {
        let x = 20 + 112 * i;
        writeln!(
            svg,
            "<circle cx='{x}' cy='{y}' r='4' fill='{colour}'/><text x='{}' y='{}'>{name}</text>",
            x + 8,
            y + 4
        )?;
    }
    Ok(())
}

fn open(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='sans-serif' \
        font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n"
    )
}

/// A line a group: accuracies before training from 0 to 100 %.
pub fn of_groups(groups: &Groups) -> Result<String, Box<dyn Error>> {
    let (left, span) = (210.0, 420.0);
    let mut svg = open(680, 60 + 18 * groups.len());
    legend(&mut svg, &COLOURS, 16)?;
    for (i, ((network, data, relation), rows)) in groups.iter().enumerate() {
        let y = 48 + 18 * i;
        writeln!(
            svg,
            "<text x='8' y='{}'>{network}, {data}, {relation}</text>",
            y + 4
        )?;
        writeln!(
            svg,
            "<line x1='{left}' x2='{}' y1='{y}' y2='{y}' stroke='#ddd'/>",
            left + span
        )?;
        let kept = mean_of(rows, "/keep_old").unwrap_or_default();
        let x = left + span * kept;
        writeln!(
            svg,
            "<line x1='{x:.1}' x2='{x:.1}' y1='{}' y2='{}' stroke='black'/>",
            y - 6,
            y + 6
        )?;
        for (name, colour) in COLOURS {
            let Some(value) = accuracy(rows, name) else {
                continue;
            };
            writeln!(
                svg,
                "<circle cx='{:.1}' cy='{y}' r='4' fill='{colour}'/>",
                left + span * value
            )?;
        }
    }
    Ok(svg + "</svg>\n")
}

/// Accuracy before training over the width, on a logarithmic axis.
pub fn of_widths(widths: &Widths) -> Result<String, Box<dyn Error>> {
    let mut svg = open(560, 330);
    let names: Vec<_> = COLOURS
        .into_iter()
        .filter(|(name, _)| *name != "oracle")
        .collect();
    legend(&mut svg, &names, 16)?;
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        writeln!(
            svg,
            "<line x1='50' x2='526' y1='{0}' y2='{0}' stroke='#ddd'/><text x='12' y='{1}'>{2:.0} %</text>",
            height_of(share),
            height_of(share) + 4.0,
            100.0 * share
        )?;
    }
    for width in widths.keys() {
        writeln!(
            svg,
            "<text x='{}' y='318' text-anchor='middle'>{width}</text>",
            place_of_width(*width)
        )?;
    }
    for (name, colour) in names {
        let points: Vec<(f64, f64)> = widths
            .iter()
            .filter_map(|(width, rows)| {
                Some((place_of_width(*width), height_of(accuracy(rows, name)?)))
            })
            .collect();
        let line: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        writeln!(
            svg,
            "<polyline points='{}' fill='none' stroke='{colour}'/>",
            line.join(" ")
        )?;
        for (x, y) in points {
            writeln!(
                svg,
                "<circle cx='{x:.1}' cy='{y:.1}' r='3' fill='{colour}'/>"
            )?;
        }
    }
    Ok(svg + "</svg>\n")
}

/// Widths from 2⁵ to 2¹².
fn place_of_width(width: u64) -> f64 {
    50.0 + 68.0 * ((width as f64).log2() - 5.0)
}

fn height_of(accuracy: f64) -> f64 {
    300.0 - 260.0 * accuracy
}
