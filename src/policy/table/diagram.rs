//! Functions over variables with a few values each, as decision diagrams: equal functions are one and the same node, so two
//! rulebooks can be compared over every combination without listing them (Bryant 1986; with more than two values and results).
//!
//! *Invariant:* reduced and ordered: no node whose branches are all the same, no two nodes alike, variables in one order.

use std::collections::BTreeMap;

/// A function: a node, or the constant that it is.
pub(crate) type Function = u32;

/// All functions over one list of variables.
#[derive(Debug)]
pub(crate) struct Diagrams {
    /// How many values each variable has.
    sizes: Vec<usize>,
    nodes: Vec<Node>,
    known: BTreeMap<Node, Function>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    variable: usize,
    /// By value.
    branches: Vec<Function>,
}

/// The functions are too many to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules depend on each other in more ways than can be laid out ({NODES_MAX} nodes): split rules that share many conditions"
)]
pub(crate) struct TooLarge;

impl Diagrams {
    pub(crate) fn new(sizes: Vec<usize>) -> Self {
        Self { sizes, nodes: Vec::new(), known: BTreeMap::new() }
    }

    /// The constant function; `value` is below [`CONSTANTS`].
    pub(crate) fn constant(value: u16) -> Function {
        Function::from(value)
    }

    /// A function of one variable, by its values.
    pub(crate) fn of(&mut self, variable: usize, results: Vec<u16>) -> Result<Function, TooLarge> {
        self.node(variable, results.into_iter().map(Self::constant).collect())
    }

    /// The function that gives `change` of what this one gives.
    pub(crate) fn map(
        &mut self,
        function: Function,
        change: &dyn Fn(u16) -> u16,
    ) -> Result<Function, TooLarge> {
        self.join(function, Self::constant(0), &mut |value, _| change(value))
    }

    /// The function that gives `both` of what the two give.
    pub(crate) fn join(
        &mut self,
        one: Function,
        other: Function,
        both: &mut dyn FnMut(u16, u16) -> u16,
    ) -> Result<Function, TooLarge> {
        self.joined(one, other, both, &mut BTreeMap::new())
    }

    fn joined(
        &mut self,
        one: Function,
        other: Function,
        both: &mut dyn FnMut(u16, u16) -> u16,
        done: &mut BTreeMap<(Function, Function), Function>,
    ) -> Result<Function, TooLarge> {
        if let (Some(one), Some(other)) = (as_constant(one), as_constant(other)) {
            return Ok(Self::constant(both(one, other)));
        }
        if let Some(known) = done.get(&(one, other)) {
            return Ok(*known);
        }
        let variable = self.variable(one).min(self.variable(other));
        let size = self.sizes.get(variable).copied().unwrap_or(0);
        let mut branches = Vec::with_capacity(size);
        for value in 0..size {
            let (one, other) =
                (self.branch(one, variable, value), self.branch(other, variable, value));
            branches.push(self.joined(one, other, both, done)?);
        }
        let made = self.node(variable, branches)?;
        done.insert((one, other), made);
        Ok(made)
    }

    /// What a function gives, with how many combinations of the variables' values it gives it for. Saturates.
    pub(crate) fn count(&self, function: Function) -> BTreeMap<u16, u128> {
        let mut known = BTreeMap::new();
        let counts = self.counted(function, &mut known);
        scaled(&counts, self.combinations(0, self.variable(function)))
    }

    fn counted(
        &self,
        function: Function,
        known: &mut BTreeMap<Function, BTreeMap<u16, u128>>,
    ) -> BTreeMap<u16, u128> {
        if let Some(value) = as_constant(function) {
            return [(value, 1)].into();
        }
        if let Some(counts) = known.get(&function) {
            return counts.clone();
        }
        let mut counts: BTreeMap<u16, u128> = BTreeMap::new();
        let variable = self.variable(function);
        for branch in self.branches(function) {
            let below = self.combinations(variable + 1, self.variable(*branch));
            for (value, count) in scaled(&self.counted(*branch, known), below) {
                let sum = counts.entry(value).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        known.insert(function, counts.clone());
        counts
    }

    /// The shortest list of (variable, value) on which the function gives a value that `wanted` accepts, whatever the other
    /// variables are; the first of equals.
    pub(crate) fn shortest(
        &self,
        function: Function,
        wanted: &dyn Fn(u16) -> bool,
    ) -> Option<Vec<(usize, usize)>> {
        self.sought(function, wanted, &mut BTreeMap::new())
    }

    fn sought(
        &self,
        function: Function,
        wanted: &dyn Fn(u16) -> bool,
        known: &mut BTreeMap<Function, Option<Vec<(usize, usize)>>>,
    ) -> Option<Vec<(usize, usize)>> {
        if let Some(value) = as_constant(function) {
            return wanted(value).then(Vec::new);
        }
        if let Some(path) = known.get(&function) {
            return path.clone();
        }
        let variable = self.variable(function);
        let mut best: Option<Vec<(usize, usize)>> = None;
        for (value, branch) in self.branches(function).iter().enumerate() {
            let Some(path) = self.sought(*branch, wanted, known) else { continue };
            if best.as_ref().is_none_or(|best| path.len() + 1 < best.len()) {
                best = Some([vec![(variable, value)], path].concat());
            }
        }
        known.insert(function, best.clone());
        best
    }

    fn node(&mut self, variable: usize, branches: Vec<Function>) -> Result<Function, TooLarge> {
        if let Some(first) = branches.first()
            && branches.iter().all(|branch| branch == first)
        {
            return Ok(*first);
        }
        let node = Node { variable, branches };
        if let Some(known) = self.known.get(&node) {
            return Ok(*known);
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(TooLarge);
        }
        let number = u32::try_from(self.nodes.len()).map_err(|_| TooLarge)? + CONSTANTS;
        self.nodes.push(node.clone());
        self.known.insert(node, number);
        Ok(number)
    }

    fn get(&self, function: Function) -> Option<&Node> {
        let number = function.checked_sub(CONSTANTS)?;
        self.nodes.get(usize::try_from(number).ok()?)
    }

    /// The first variable that it depends on; a constant comes after all of them.
    fn variable(&self, function: Function) -> usize {
        self.get(function).map_or(self.sizes.len(), |node| node.variable)
    }

    fn branches(&self, function: Function) -> &[Function] {
        self.get(function).map_or(&[], |node| &node.branches)
    }

    fn branch(&self, function: Function, variable: usize, value: usize) -> Function {
        match self.get(function) {
            Some(node) if node.variable == variable => {
                node.branches.get(value).copied().unwrap_or(function)
            }
            _ => function,
        }
    }

    /// Of the variables from `from` on and before `to`.
    fn combinations(&self, from: usize, to: usize) -> u128 {
        let between = self.sizes.get(from..to).unwrap_or(&[]);
        between.iter().fold(1, |product, size| product.saturating_mul(*size as u128))
    }
}

fn as_constant(function: Function) -> Option<u16> {
    u16::try_from(function).ok()
}

fn scaled(counts: &BTreeMap<u16, u128>, by: u128) -> BTreeMap<u16, u128> {
    counts.iter().map(|(value, count)| (*value, count.saturating_mul(by))).collect()
}

/// Constants are the numbers below; nodes are numbered from here on.
const CONSTANTS: u32 = 1 << 16;
/// About 100 bytes each: 200 MB. The shipped rules need a few thousand for a cell.
const NODES_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests {
    //! Proves that a diagram is the function it was made from, and that equal functions are equal numbers.

    use super::*;
    use proptest::prelude::*;

    /// What the function gives at one combination: the value of each variable.
    fn at(all: &Diagrams, function: Function, values: &[usize]) -> u16 {
        as_constant(function).unwrap_or_else(|| {
            let variable = all.variable(function);
            at(all, all.branch(function, variable, values[variable]), values)
        })
    }

    fn every(sizes: &[usize]) -> Vec<Vec<usize>> {
        sizes.iter().fold(vec![Vec::new()], |all, size| {
            let longer = |it: &Vec<usize>, value| [it.clone(), vec![value]].concat();
            all.iter().flat_map(|it| (0..*size).map(move |value| longer(it, value))).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_join_gives_what_joining_the_values_gives(
            first in prop::collection::vec(0_u16..3, 4 * 3),
            second in prop::collection::vec(0_u16..3, 4 * 3),
        ) {
            let sizes = vec![3, 2, 3, 2];
            let mut all = Diagrams::new(sizes.clone());
            let build = |all: &mut Diagrams, values: &[u16]| {
                let parts = values.chunks(3).enumerate().map(|(variable, results)| {
                    let size = sizes[variable];
                    all.of(variable, results[..size].to_vec()).unwrap()
                });
                let parts: Vec<Function> = parts.collect();
                parts.iter().fold(Diagrams::constant(0), |sum, part| {
                    all.join(sum, *part, &mut |a, b| (a * 2 + b) % 3).unwrap()
                })
            };
            let plain = |values: &[u16], at: &[usize]| {
                at.iter().enumerate().fold(0, |sum, (variable, value)| (sum * 2 + values[variable * 3 + value]) % 3)
            };
            let (one, other) = (build(&mut all, &first), build(&mut all, &second));
            let both = all.join(one, other, &mut u16::max).unwrap();
            let back = all.join(other, one, &mut u16::max).unwrap();
            prop_assert_eq!(both, back);
            let mut counts = BTreeMap::new();
            for at in every(&sizes) {
                let expected = plain(&first, &at).max(plain(&second, &at));
                prop_assert_eq!(super::tests::at(&all, both, &at), expected);
                *counts.entry(expected).or_insert(0_u128) += 1;
            }
            prop_assert_eq!(all.count(both), counts.clone());
            for wanted in 0..3 {
                let path = all.shortest(both, &|value| value == wanted);
                prop_assert_eq!(path.is_some(), counts.contains_key(&wanted));
                let mut at = vec![0; sizes.len()];
                for (variable, value) in path.iter().flatten() {
                    at[*variable] = *value;
                }
                prop_assert!(path.is_none() || super::tests::at(&all, both, &at) == wanted);
            }
        }
    }
}
