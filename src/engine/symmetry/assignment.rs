//! The linear assignment problem: `σ = argmax Σ_j A[j, σ[j]]` over all permutations.
//!
//! `A` is n × n, row-major: row `j` is the target's unit, column `i` the source's. Order of events:
//!
//! 1. refuse what is not finite;
//! 2. if the row maxima can be taken all at once, they are the answer and its own proof;
//! 3. otherwise give every column a price (a former solve's, where one is lent), match the rows
//!    whose best column at those prices is free, and lower the prices of columns nobody took;
//! 4. let the others bid for theirs, which settles nearly all (Jonker and Volgenant's row
//!    reduction, Computing 38, 1987);
//! 5. send the rest along shortest augmenting paths, which end in prices at which every row has
//!    its best column;
//! 6. prove it: recompute the duality gap from the prices alone.
//!
//! Steps 4 and 5 look at shortlists of columns, not at whole rows: that is where the speed is.
//! Entries stay in f32, prices and distances are f64. Nothing here is random, and no value depends
//! on the prices lent: step 6 judges whatever came out.

mod augment;
mod scan;
mod shortlist;
mod tree;

use augment::Search;
use pulp::Arch;
use serde::{Deserialize, Serialize};

/// A permutation that maximises `Σ_j A[j, sigma[j]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// `sigma[j]` is the column of row `j`.
    pub sigma: Vec<u32>,
    /// `Σ_j A[j, sigma[j]]`, accumulated in f64.
    pub value: f64,
    /// Why no permutation does better.
    pub certificate: Certificate,
}

/// The proof of optimality that comes with an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Certificate {
    /// Every row has its own maximum: optimal at sight.
    RowMaxima,
    /// Column prices were found under which no permutation is better by more than `gap`
    /// (computed in f64, in the units of `value`; zero up to rounding).
    DualFeasible {
        /// `Σ_j max_i (A[j,i] − price[i]) + Σ_i price[i] − value`.
        gap: f64,
    },
}

impl Certificate {
    /// As reports name them.
    pub const NAMES: [&'static str; 2] = ["row_maxima", "dual"];

    #[must_use]
    pub fn name(self) -> &'static str {
        let [row_maxima, dual] = Self::NAMES;
        match self {
            Self::RowMaxima => row_maxima,
            Self::DualFeasible { .. } => dual,
        }
    }

    /// The name that is written so; `None` if none is.
    #[must_use]
    pub fn known_name(written: &str) -> Option<&'static str> {
        Self::NAMES.into_iter().find(|known| *known == written)
    }
}

impl Certificate {
    /// What any other permutation could gain at most.
    #[must_use]
    pub fn gap(&self) -> f64 {
        match self {
            Self::RowMaxima => 0.0,
            Self::DualFeasible { gap } => *gap,
        }
    }
}

/// Column prices kept from one solve to warm the next, of a matrix nearby.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices(Vec<f64>);

impl Prices {
    /// One price a column; empty before the first solve. Any numbers will do, good ones are faster.
    #[must_use]
    pub fn from_columns(prices: Vec<f64>) -> Self {
        Self(prices)
    }

    /// One price a column, in the units of the matrix.
    #[must_use]
    pub fn columns(&self) -> &[f64] {
        &self.0
    }
}

/// An entry of the matrix is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the matching matrix is not finite at row {row}, column {column}: \
     look for NaN or overflow in the parameters or gradients it was made from"
)]
pub struct NotFinite {
    /// Target unit.
    pub row: usize,
    /// Source unit.
    pub column: usize,
}

/// No row, or no column.
const FREE: u32 = u32::MAX;

/// A gap below this share of `Σ_j max_i |A[j,i]|` is rounding.
const ROUNDING: f64 = 1e-10;

/// The permutation of `0..n` that maximises `Σ_j matrix[j·n + sigma[j]]`.
///
/// `current` is the permutation to keep where the matrix has no preference (ties, rows of zeros).
/// `warm` is read for a start and left with the prices found; it never changes the value.
///
/// # Errors
/// [`NotFinite`] names the first entry that is infinite or not a number.
///
/// # Panics
/// If `matrix` is not n × n, or `current` not of length n: the caller's mistake.
pub fn solve(
    matrix: &[f32],
    n: usize,
    current: Option<&[u32]>,
    warm: Option<&mut Prices>,
) -> Result<Assignment, NotFinite> {
    assert_eq!(matrix.len(), n * n, "the matching matrix must be square");
    assert!(
        current.is_none_or(|sigma| sigma.len() == n),
        "one current column a row"
    );
    let arch = Arch::new();
    let rows = Rows {
        arch,
        matrix,
        n,
        current,
    };
    let largest = rows.largest_magnitudes()?;
    if let Some(sigma) = rows.maxima_if_distinct() {
        return Ok(rows.certified(sigma, Certificate::RowMaxima));
    }

    let tolerance = ROUNDING * largest.iter().sum::<f64>();
    let scale = largest.iter().copied().fold(0.0, f64::max);
    let mut prices = usable(warm.as_deref(), n, scale).unwrap_or_else(|| vec![0.0; n]);
    let mut found = rows.solve_from(&mut prices);
    if found.certificate.gap() > tolerance {
        // Lent prices so far off that distances were rounded away: start from none.
        prices.fill(0.0);
        found = rows.solve_from(&mut prices);
    }

    if let Some(kept) = rows.current_if_as_good(found.value - tolerance, &prices) {
        found = kept;
    }

    if let Some(warm) = warm {
        warm.0 = prices;
    }

    Ok(found)
}

/// Lent prices, if there is one per column and none would drown the matrix in rounding.
fn usable(warm: Option<&Prices>, n: usize, scale: f64) -> Option<Vec<f64>> {
    let prices = &warm?.0;
    let limit = 1e6 * scale;
    (prices.len() == n && prices.iter().all(|p| p.abs() <= limit)).then(|| prices.clone())
}

/// The matrix as the solver reads it.
#[derive(Clone, Copy)]
struct Rows<'a> {
    arch: Arch,
    matrix: &'a [f32],
    n: usize,
    current: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    fn row(&self, j: usize) -> &'a [f32] {
        &self.matrix[j * self.n..(j + 1) * self.n]
    }

    /// `max_i |A[j,i]|` of every row.
    fn largest_magnitudes(&self) -> Result<Vec<f64>, NotFinite> {
        (0..self.n).map(|j| self.largest_magnitude(j)).collect()
    }

    fn largest_magnitude(&self, j: usize) -> Result<f64, NotFinite> {
        let row = self.row(j);
        let magnitude = scan::largest_magnitude(self.arch, row);
        if magnitude.is_finite() {
            return Ok(f64::from(magnitude));
        }
        let column = row.iter().position(|a| !a.is_finite()).unwrap_or(0);
        Err(NotFinite { row: j, column })
    }

    /// Each row's maximum, the current column first among equals, if no two rows meet.
    fn maxima_if_distinct(&self) -> Option<Vec<u32>> {
        let zero = vec![0.0; self.n];
        let mut taken = vec![false; self.n];
        let mut sigma = Vec::with_capacity(self.n);

        for j in 0..self.n {
            let (_, i) = self.best_column(j, &zero);
            if std::mem::replace(&mut taken[i as usize], true) {
                return None;
            }
            sigma.push(i);
        }

        Some(sigma)
    }

    /// `max_i (A[j,i] − prices[i])` and where: the current column if it attains it, else the first.
    fn best_column(&self, j: usize, prices: &[f64]) -> (f64, u32) {
        let row = self.row(j);
        let (best, first) = scan::best(self.arch, row, prices);
        match self.current {
            Some(sigma) if self.utility(j, sigma[j], prices) >= best => (best, sigma[j]),
            _ => (best, first),
        }
    }

    /// `A[j,i] − prices[i]`.
    fn utility(&self, j: usize, i: u32, prices: &[f64]) -> f64 {
        f64::from(self.row(j)[i as usize]) - prices[i as usize]
    }

    /// Steps 3 to 6: from any prices to an optimal assignment and the prices that prove it.
    fn solve_from(&self, prices: &mut [f64]) -> Assignment {
        let mut search = Search::begin(*self, prices);
        search.match_free_best_columns();
        search.bid();
        search.augment_all();
        let sigma = search.finish(prices);
        let certificate = self.certificate(&sigma, prices);
        self.certified(sigma, certificate)
    }

    /// The current permutation with the proof that these prices give it, if its value will do.
    fn current_if_as_good(&self, enough: f64, prices: &[f64]) -> Option<Assignment> {
        let sigma = self.current?;
        let kept = self.certified(sigma.to_vec(), Certificate::RowMaxima);
        let certificate = (kept.value >= enough).then(|| self.certificate(sigma, prices))?;
        Some(Assignment {
            certificate,
            ..kept
        })
    }

    /// The gap as a sum of what each row could still gain: no term is negative, nothing cancels.
    fn certificate(&self, sigma: &[u32], prices: &[f64]) -> Certificate {
        let mut gap = 0.0;
        for (j, &i) in sigma.iter().enumerate() {
            gap += scan::best(self.arch, self.row(j), prices).0 - self.utility(j, i, prices);
        }
        Certificate::DualFeasible { gap }
    }

    fn certified(&self, sigma: Vec<u32>, certificate: Certificate) -> Assignment {
        let chosen = sigma.iter().enumerate();
        let value = chosen
            .map(|(j, &i)| f64::from(self.row(j)[i as usize]))
            .sum();

        Assignment {
            sigma,
            value,
            certificate,
        }
    }
}

#[cfg(test)]
mod tests;
