//! The assignment solver on the matrices of this field: cold, warm, unchanged, and certified at sight.
//!
//! ```text
//! cargo bench --bench assignment -- [--sizes 512,2048,4096] [--write DIR] [--json FILE] [--matrix FILE.f32]
//! python benches/reference/assignment_scipy.py DIR
//! ```
//!
//! `--write` leaves the matrices (little-endian f32, row-major) for scipy to solve beside; `--matrix`
//! solves one such file instead of the made ones. Each time is the least of three.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use retune::engine::symmetry::assignment::{Assignment, Certificate, Prices, solve};

type Failure = Box<dyn Error>;

struct Arguments {
    sizes: Vec<usize>,
    write: Option<PathBuf>,
    json: Option<PathBuf>,
    matrix: Option<PathBuf>,
}

fn main() -> Result<(), Failure> {
    let arguments = arguments()?;
    println!(
        "{:<12} {:>5}  {:>9} {:>9} {:>9}  proof",
        "matrix", "n", "cold ms", "warm ms", "same ms"
    );
    let mut lines = Vec::new();
    for (name, n, matrix) in matrices(&arguments)? {
        if let Some(folder) = &arguments.write {
            std::fs::create_dir_all(folder)?;
            let bytes: Vec<u8> = matrix.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(folder.join(format!("{name}-{n}.f32")), bytes)?;
        }
        lines.push(measure(&name, n, &matrix)?);
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("[\n{}\n]\n", lines.join(",\n")))?;
    }
    Ok(())
}

fn arguments() -> Result<Arguments, Failure> {
    let mut found = Arguments {
        sizes: vec![512, 2048, 4096],
        write: None,
        json: None,
        matrix: None,
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(option) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--sizes" => {
                found.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--write" => found.write = Some(value.into()),
            "--json" => found.json = Some(value.into()),
            "--matrix" => found.matrix = Some(value.into()),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    Ok(found)
}

type Matrices = Box<dyn Iterator<Item = (String, usize, Vec<f32>)>>;

/// Makes a matrix of a size.
type Make = fn(usize) -> Vec<f32>;

fn matrices(arguments: &Arguments) -> Result<Matrices, Failure> {
    if let Some(file) = &arguments.matrix {
        let bytes = std::fs::read(file)?;
        let matrix: Vec<f32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        return Ok(Box::new(std::iter::once((
            name,
            matrix.len().isqrt(),
            matrix,
        ))));
    }
    let kinds: [(&str, Make); 5] = [
        ("random", |n| random(n, 1)),
        ("gradients", |n| pairs(n, 1.0, 0.0, 2)),
        ("noisy", |n| pairs(n, 3.0, 0.0, 3)),
        ("half-dead", |n| pairs(n, 1.0, 0.5, 4)),
        ("planted", |n| pairs(n, 0.01, 0.0, 5)),
    ];
    let sizes = arguments.sizes.clone();
    let all = sizes
        .into_iter()
        .flat_map(move |n| kinds.map(|(name, make)| (name, n, make)));
    Ok(Box::new(
        all.map(|(name, n, make)| (name.to_owned(), n, make(n))),
    ))
}

fn measure(name: &str, n: usize, matrix: &[f32]) -> Result<String, Failure> {
    let mut prices = Prices::default();
    let (cold, answer) = least_of_three(|| solve(matrix, n, None, None))?;
    solve(matrix, n, None, Some(&mut prices))?;
    let nearby = five_percent_away(matrix);
    let current = Some(&answer.sigma[..]);
    let (warm, _) = least_of_three(|| solve(&nearby, n, current, Some(&mut prices.clone())))?;
    let (same, _) = least_of_three(|| solve(matrix, n, current, Some(&mut prices.clone())))?;
    let proof = match answer.certificate {
        Certificate::RowMaxima => "row maxima".to_owned(),
        Certificate::DualFeasible { gap } => format!("duals, gap {gap:.1e}"),
    };
    println!("{name:<12} {n:>5}  {cold:>9.1} {warm:>9.1} {same:>9.1}  {proof}");
    let mut line = String::new();
    write!(
        line,
        r#"  {{"matrix": "{name}", "n": {n}, "cold_ms": {cold:.2}, "warm_ms": {warm:.2}, "same_ms": {same:.2}, "value": {}, "proof": "{proof}"}}"#,
        answer.value
    )?;
    Ok(line)
}

fn least_of_three<E>(
    mut run: impl FnMut() -> Result<Assignment, E>,
) -> Result<(f64, Assignment), E> {
    let mut least = (f64::INFINITY, run()?);
    for _ in 0..3 {
        let start = Instant::now();
        let answer = run()?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if milliseconds < least.0 {
            least = (milliseconds, answer);
        }
    }
    Ok(least)
}

/// `SplitMix64`.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1: the sum of four uniform draws.
    fn normal(&mut self) -> f64 {
        (0..4).map(|_| self.uniform() - 0.5).sum::<f64>() * 3.0_f64.sqrt()
    }
}

fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut draws = Draws(seed);
    (0..n * n).map(|_| draws.uniform() as f32).collect()
}

/// `A = T Sᵀ` as from gradient pairs: units of very different size (log-normal), directions of
/// falling weight, the target's units the source's in another order plus `noise` of their own
/// size; a share `dead` of units is zero.
fn pairs(n: usize, noise: f64, dead: f64, seed: u64) -> Vec<f32> {
    const RANK: usize = 64;
    let mut draws = Draws(seed);
    let weight: Vec<f64> = (0..RANK).map(|k| 1.0 / (1.0 + k as f64).sqrt()).collect();
    let mut unit =
        |size: f64| -> Vec<f64> { weight.iter().map(|w| size * w * draws.normal()).collect() };
    let mut sizes = Draws(seed + 1000);
    let sizes: Vec<f64> = (0..n)
        .map(|_| {
            if sizes.uniform() < dead {
                0.0
            } else {
                sizes.normal().exp()
            }
        })
        .collect();
    let source: Vec<Vec<f64>> = sizes.iter().map(|&size| unit(size)).collect();
    let own: Vec<Vec<f64>> = sizes.iter().map(|&size| unit(noise * size)).collect();
    let mut matrix = Vec::with_capacity(n * n);
    for j in 0..n {
        let i = (j * 7 + 3) % n; // a permutation while n is no multiple of 7
        let target: Vec<f64> = source[i].iter().zip(&own[i]).map(|(s, o)| s + o).collect();
        let product = |s: &Vec<f64>| s.iter().zip(&target).map(|(s, t)| s * t).sum::<f64>() as f32;
        matrix.extend(source.iter().map(product));
    }
    matrix
}

fn five_percent_away(matrix: &[f32]) -> Vec<f32> {
    let mut draws = Draws(9);
    let square: f64 = matrix.iter().map(|x| f64::from(*x).powi(2)).sum();
    let scale = 0.05 * (square / matrix.len() as f64).sqrt();
    matrix
        .iter()
        .map(|x| x + (scale * draws.normal()) as f32)
        .collect()
}
