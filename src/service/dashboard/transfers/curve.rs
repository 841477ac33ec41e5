//! Accuracy by timestep as coordinates of an SVG; the template draws them.

use crate::service::dashboard::format;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 268.0;
/// Colours in the style sheet.
const COLOURS: usize = 8;
/// Least distance between two labels of baselines.
const LABEL_HEIGHT: f64 = 16.0;

/// What one line is drawn from: `(step, accuracy)` in order, and the step chosen.
pub struct Given {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub chosen: Option<f64>,
}

/// The drawing, in the coordinates of its view box.
pub struct Curve {
    pub width: f64,
    pub height: f64,
    pub left: f64,
    pub right: f64,
    pub bottom: f64,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    pub baselines: Vec<Baseline>,
    pub series: Vec<Series>,
}

pub struct Tick {
    pub at: String,
    pub label: String,
}

pub struct Baseline {
    pub at: String,
    pub text_at: String,
    pub label: String,
}

pub struct Series {
    pub name: String,
    pub colour: usize,
    /// `x,y x,y …`; empty for a single point.
    pub path: String,
    pub dots: Vec<Dot>,
}

pub struct Dot {
    pub x: String,
    pub y: String,
    pub step: String,
    pub label: String,
    pub chosen: bool,
}

/// Draws the lines between the lowest and highest value; nothing where there is no line.
pub fn draw(given: &[Given], baselines: &[(String, f64)]) -> Option<Curve> {
    let points: Vec<(f64, f64)> = given
        .iter()
        .flat_map(|one| one.points.iter().copied())
        .collect();
    let first_step = points.first().map(|_| 1.0);
    let steps = points.iter().map(|&(step, _)| step).chain(first_step);
    let values = points.iter().map(|&(_, value)| value);
    let values = values.chain(baselines.iter().map(|(_, value)| *value));
    let axes = Axes {
        steps: Range::of(steps)?,
        values: Range::of(values)?.widened(),
    };

    Some(Curve {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: RIGHT,
        bottom: BOTTOM,
        x_ticks: axes.x_ticks(),
        y_ticks: axes.y_ticks(),
        baselines: axes.placed(baselines),
        series: given
            .iter()
            .enumerate()
            .map(|(i, one)| axes.line(i, one))
            .collect(),
    })
}

/// The lowest and the highest of some values.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Of what is finite; `None` where nothing is.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values
            .filter(|value| value.is_finite())
            .fold(None, |found: Option<Self>, value| {
                let Self { low, high } = found.unwrap_or(Self {
                    low: value,
                    high: value,
                });
                Some(Self {
                    low: low.min(value),
                    high: high.max(value),
                })
            })
    }

    /// Room above and below, within 0 and 1, on whole twentieths.
    fn widened(self) -> Self {
        let low = ((self.low - 0.02) * 20.0).floor() / 20.0;
        let high = ((self.high + 0.02) * 20.0).ceil() / 20.0;
        Self {
            low: low.max(0.0),
            high: high.clamp(low.max(0.0) + 0.05, 1.0_f64.max(low + 0.05)),
        }
    }

    fn length(self) -> f64 {
        self.high - self.low
    }
}

/// Where steps and values lie in the view box.
#[derive(Clone, Copy)]
struct Axes {
    steps: Range,
    values: Range,
}

fn at(value: f64) -> String {
    format!("{value:.1}")
}

impl Axes {
    /// In the middle where there is one step alone.
    fn x(self, step: f64) -> f64 {
        let Range { low, high } = self.steps;
        let share = if high > low {
            (step - low) / (high - low)
        } else {
            0.5
        };
        LEFT + 12.0 + share * (RIGHT - LEFT - 24.0)
    }

    fn y(self, value: f64) -> f64 {
        BOTTOM - (value - self.values.low) / self.values.length() * (BOTTOM - TOP)
    }

    fn x_ticks(self) -> Vec<Tick> {
        let every = (self.steps.length() / 10.0).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut step = self.steps.low;
        while step <= self.steps.high {
            ticks.push(Tick {
                at: at(self.x(step)),
                label: format!("{step:.0}"),
            });
            step += every;
        }

        ticks
    }

    fn y_ticks(self) -> Vec<Tick> {
        let Range { low, high } = self.values;
        let every = [0.01, 0.02, 0.05, 0.1, 0.2]
            .into_iter()
            .find(|every| (high - low) / every <= 6.0);
        let every = every.unwrap_or(0.25);
        let mut ticks = Vec::new();
        let mut value = (low / every).ceil() * every;
        while value <= high + 1e-9 {
            ticks.push(Tick {
                at: at(self.y(value)),
                label: format!("{:.0} %", value * 100.0),
            });
            value += every;
        }

        ticks
    }

    /// Labels above their lines, from the top down, moved apart where two lines are close.
    fn placed(self, baselines: &[(String, f64)]) -> Vec<Baseline> {
        let mut sorted: Vec<_> = baselines
            .iter()
            .filter(|(_, value)| value.is_finite())
            .collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut free_from = TOP;
        sorted
            .into_iter()
            .map(|(name, value)| {
                let text_at = (self.y(*value) - 6.0).max(free_from);
                free_from = text_at + LABEL_HEIGHT;
                let label = format!("{name} {}", format::percent(Some(*value)));
                Baseline {
                    at: at(self.y(*value)),
                    text_at: at(text_at),
                    label,
                }
            })
            .collect()
    }

    fn line(self, i: usize, given: &Given) -> Series {
        let drawn = given
            .points
            .iter()
            .filter(|(step, value)| step.is_finite() && value.is_finite());
        let dots: Vec<Dot> = drawn
            .map(|&(step, value)| Dot {
                x: at(self.x(step)),
                y: at(self.y(value)),
                step: format::figure(Some(step)),
                label: format::percent(Some(value)),
                chosen: given
                    .chosen
                    .is_some_and(|chosen| (chosen - step).abs() < 0.5),
            })
            .collect();

        let path = match dots.as_slice() {
            [_] => String::new(),
            dots => dots
                .iter()
                .map(|dot| format!("{},{}", dot.x, dot.y))
                .collect::<Vec<_>>()
                .join(" "),
        };

        Series {
            name: given.name.clone(),
            colour: i % COLOURS,
            path,
            dots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(points: &[(f64, f64)]) -> Given {
        Given {
            name: "fgmt".into(),
            points: points.to_vec(),
            chosen: Some(2.0),
        }
    }

    #[test]
    fn the_ends_of_a_line_lie_at_the_ends_of_the_axes() {
        let curve = draw(&[given(&[(1.0, 0.52), (2.0, 0.98)])], &[]).unwrap();
        // 0.52 − 0.02 and 0.98 + 0.02 are the ends of the axis: 50 % and 100 %.
        assert_eq!(curve.series[0].path, "72.0,257.9 732.0,26.1");
        assert_eq!(curve.y_ticks.first().unwrap().label, "50 %");
        assert_eq!(curve.y_ticks.last().unwrap().label, "100 %");
        assert_eq!(
            curve.series[0].dots.iter().filter(|dot| dot.chosen).count(),
            1
        );
        let labels: Vec<_> = curve
            .x_ticks
            .iter()
            .map(|tick| tick.label.as_str())
            .collect();
        assert_eq!(labels, ["1", "2"]);
    }

    #[test]
    fn labels_of_close_baselines_do_not_touch() {
        let baselines = [("a".to_owned(), 0.90), ("b".to_owned(), 0.901)];
        let curve = draw(&[given(&[(1.0, 0.1)])], &baselines).unwrap();
        let at = |i: usize| curve.baselines[i].text_at.parse::<f64>().unwrap();
        assert!(
            (at(0) - at(1)).abs() >= LABEL_HEIGHT - 0.1,
            "{} {}",
            at(0),
            at(1)
        );
    }

    #[test]
    fn nothing_or_nonsense_draws_nothing_but_does_not_fail() {
        assert!(draw(&[], &[("a".into(), 0.5)]).is_none());
        assert!(draw(&[given(&[(f64::NAN, f64::NAN)])], &[]).is_none());
        assert!(draw(&[given(&[(1.0, 0.0)])], &[]).is_some());
        assert!(draw(&[given(&[(1.0, 1.0)])], &[]).is_some());
    }
}
