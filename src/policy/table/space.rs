//! What the predicates of a cell can be together: variables with their values, and which combinations no facts can make.
//!
//! Predicates over one fact (`workload:train`, `workload:infer`) are one variable. What follows from another (a narrower
//! category from a broader one) is ruled out. Where facts might still exclude a combination, it is kept: a table may hold
//! a combination that no facts make, and never lacks one that they do.

use std::collections::BTreeMap;

use verdict::Rulebook;
use verdict::atom::{Atom, PartyTest, Test, Who};
use verdict::cell::Truth;
use verdict::question::Class;

use super::diagram::{Diagrams, Function, TooLarge};
use super::line::Wanted;

/// The variables of one or more rulebooks' predicates, and the functions over them.
#[derive(Debug)]
pub(crate) struct Space {
    variables: Vec<Variable>,
    /// Predicate to its variable and its place there.
    places: BTreeMap<String, (usize, usize)>,
    pub diagrams: Diagrams,
    conjunctions: BTreeMap<Vec<Wanted>, Function>,
}

#[derive(Debug)]
struct Variable {
    atoms: Vec<Atom>,
    /// What each of the atoms is, for each value.
    values: Vec<Vec<Truth>>,
}

impl Space {
    /// `atoms` are different ones; their order is that of the variables: what many rules share belongs first.
    pub(crate) fn new(atoms: &[Atom]) -> Self {
        let mut variables: Vec<Variable> = Vec::new();
        for atom in atoms {
            let same = |known: &&mut Variable| {
                known
                    .atoms
                    .iter()
                    .any(|it| family(&it.test).is_some_and(|it| Some(it) == family(&atom.test)))
            };
            match variables.iter_mut().find(same) {
                Some(known) if !known.atoms.contains(atom) => known.atoms.push(atom.clone()),
                Some(_) => {}
                None => variables.push(Variable { atoms: vec![atom.clone()], values: Vec::new() }),
            }
        }
        for variable in &mut variables {
            variable.atoms.sort_by_key(|atom| (rank(&atom.test), atom.to_string()));
            variable.values = values(&variable.atoms);
        }
        let place = |(number, variable): (usize, &Variable)| {
            let atoms = variable.atoms.iter().enumerate();
            atoms.map(move |(at, atom)| (atom.to_string(), (number, at))).collect::<Vec<_>>()
        };
        let places = variables.iter().enumerate().flat_map(place).collect();
        let sizes = variables.iter().map(|variable| variable.values.len()).collect();
        let diagrams = Diagrams::new(sizes);
        Self { variables, places, diagrams, conjunctions: BTreeMap::new() }
    }

    /// 1 where facts may make the combination in one of the books, else 0.
    pub(crate) fn possible(&mut self, books: &[&Rulebook]) -> Result<Function, TooLarge> {
        let atoms: Vec<Atom> =
            self.variables.iter().flat_map(|variable| variable.atoms.clone()).collect();
        let mut possible = Diagrams::constant(1);
        for one in &atoms {
            let follows =
                |other: &&Atom| books.iter().all(|book| implies(book, &one.test, &other.test));
            for other in atoms.iter().filter(|other| *other != one).filter(follows) {
                let (one, other) = (self.truth(&one.to_string())?, self.truth(&other.to_string())?);
                let kept = self.diagrams.join(one, other, &mut |a, b| u16::from(a <= b))?;
                possible = self.diagrams.join(possible, kept, &mut u16::min)?;
            }
        }
        Ok(possible)
    }

    /// How far a conjunction holds: 0 no, 1 not known, 2 yes.
    pub(crate) fn conjunction(&mut self, wanted: &[Wanted]) -> Result<Function, TooLarge> {
        if let Some(known) = self.conjunctions.get(wanted) {
            return Ok(*known);
        }
        let mut all = Diagrams::constant(HOLDS);
        // from the last variable up, so that each step touches little
        let mut ordered: Vec<&Wanted> = wanted.iter().collect();
        ordered.sort_by_key(|it| std::cmp::Reverse(self.places.get(&it.atom)));
        for it in ordered {
            let mut truth = self.truth(&it.atom)?;
            if it.negated {
                truth = self.diagrams.map(truth, &|value| HOLDS - value)?;
            }
            all = self.diagrams.join(truth, all, &mut u16::min)?;
        }
        self.conjunctions.insert(wanted.to_vec(), all);
        Ok(all)
    }

    /// What `then` makes of the function where the conjunction holds for sure, and the function itself elsewhere.
    pub(crate) fn where_it_holds(
        &mut self,
        wanted: &[Wanted],
        function: Function,
        then: &mut dyn FnMut(u16) -> u16,
    ) -> Result<Function, TooLarge> {
        let truth = self.conjunction(wanted)?;
        let mut both = |truth, value| if truth == HOLDS { then(value) } else { value };
        self.diagrams.join(truth, function, &mut both)
    }

    fn truth(&mut self, atom: &str) -> Result<Function, TooLarge> {
        // every predicate of a row is in the space that was made of those rows
        let Some((number, at)) = self.places.get(atom).copied() else {
            return Ok(Diagrams::constant(UNKNOWN));
        };
        let values = self.variables.get(number).map_or(&[][..], |variable| &variable.values);
        let results = values.iter().map(|value| value.get(at).copied().map_or(UNKNOWN, number_of));
        let results = results.collect();
        self.diagrams.of(number, results)
    }

    /// What some variables' values mean, as predicates: `workload:train`, `not keys.in_use`.
    pub(crate) fn words(&self, values: &[(usize, usize)]) -> Vec<String> {
        values.iter().map(|(number, value)| self.word(*number, *value)).collect()
    }

    fn word(&self, number: usize, value: usize) -> String {
        let Some(variable) = self.variables.get(number) else { return String::new() };
        let truths = variable.values.get(value).map_or(&[][..], Vec::as_slice);
        let of = |wanted: Truth| {
            let atoms = variable.atoms.iter().zip(truths).filter(move |(_, it)| **it == wanted);
            atoms.map(|(atom, _)| atom.to_string()).collect::<Vec<_>>()
        };
        let (holds, unknown) = (of(Truth::True), of(Truth::Unknown));
        if !unknown.is_empty() {
            return format!("not known whether {}", unknown.join(" or "));
        }
        if holds.is_empty() {
            format!("not {}", of(Truth::False).join(" nor "))
        } else {
            holds.join(" and ")
        }
    }
}

/// Can nobody ever tell? Flags and lists of what is catalogued are read as they stand.
pub(crate) const fn can_be_unknown(test: &Test) -> bool {
    match test {
        Test::Category(_)
        | Test::CategoryIn(_)
        | Test::Encrypted
        | Test::Stored
        | Test::StateFunded
        | Test::Recurring
        | Test::ThirdCountryOrder
        | Test::InForce(_) => false,
        // without its recipient a cell is refused before any rule is asked; the operator may be missing
        Test::Party(Who::Subject | Who::Recipient, test) => !matches!(
            test,
            PartyTest::Sector(_)
                | PartyTest::SupervisedBy(_)
                | PartyTest::RegulatedUnder(_)
                | PartyTest::UsPerson
                | PartyTest::Designated
                | PartyTest::CriticalInfrastructure
                | PartyTest::SignificantFiduciary
        ),
        _ => true,
    }
}

/// Predicates of one family test one fact for different values.
const fn family(test: &Test) -> Option<Family> {
    Some(match test {
        Test::Workload(_) => Family::Workload,
        Test::Role(_) => Family::Role,
        Test::Identifiability(_) => Family::Identifiability,
        Test::KeysHolder(_) => Family::KeysHolder,
        Test::ClassAtLeast(_) => Family::Class,
        _ => return None,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Workload,
    Role,
    Identifiability,
    KeysHolder,
    Class,
}

impl Family {
    /// How many values the fact can have.
    const fn size(self) -> usize {
        match self {
            Self::Workload => 6,
            Self::Role | Self::KeysHolder => 3,
            Self::Identifiability | Self::Class => 5,
        }
    }
}

/// Thresholds of a class from the lowest up.
const fn rank(test: &Test) -> Option<Class> {
    match test {
        Test::ClassAtLeast(class) => Some(*class),
        _ => None,
    }
}

fn values(atoms: &[Atom]) -> Vec<Vec<Truth>> {
    let all = |truth: Truth| vec![truth; atoms.len()];
    let Some(first) = atoms.first() else { return Vec::new() };
    let Some(family) = family(&first.test) else {
        return match first.test {
            // the destination is given: what is left of it is what nobody can tell
            Test::To(_) => vec![all(Truth::Unknown)],
            _ if can_be_unknown(&first.test) => {
                vec![all(Truth::False), all(Truth::Unknown), all(Truth::True)]
            }
            _ => vec![all(Truth::False), all(Truth::True)],
        };
    };
    let truth = |holds: bool| if holds { Truth::True } else { Truth::False };
    let count = atoms.len();
    let mut values: Vec<Vec<Truth>> = if family == Family::Class {
        let none = usize::from(rank(&first.test) == Some(Class::Public));
        (none..=count).map(|held| (0..count).map(|at| truth(at < held)).collect()).collect()
    } else {
        let named = (0..count).map(|held| (0..count).map(|at| truth(at == held)).collect());
        let other = (count < family.size()).then(|| all(Truth::False));
        other.into_iter().chain(named).collect()
    };
    values.push(all(Truth::Unknown));
    values
}

/// Whenever the first holds, so does the second; and the second is at least as true.
fn implies(book: &Rulebook, one: &Test, other: &Test) -> bool {
    let set = |set: &str| book.book().vocabulary.category_sets.get(set);
    let within = |category: &str, wide: &str| {
        set(wide).is_some_and(|wide| wide.iter().any(|it| book.is_a(category, it)))
    };
    match (one, other) {
        (Test::Category(one), Test::Category(other)) => book.is_a(one, other),
        (Test::Category(one), Test::CategoryIn(other)) => within(one, other),
        (Test::CategoryIn(one), Test::CategoryIn(other)) => {
            set(one).is_some_and(|one| one.iter().all(|category| within(category, other)))
        }
        (Test::Ground(one, Some(_)), Test::Ground(other, None)) => one == other,
        (Test::Party(one, narrow), Test::Party(other, wide)) if one == other => {
            match (narrow, wide) {
                (PartyTest::DpfHr, PartyTest::Dpf)
                | (PartyTest::Designated, PartyTest::Covered(_)) => true,
                (PartyTest::Ultimate(one), PartyTest::Covered(other)) => one == other,
                _ => false,
            }
        }
        _ => false,
    }
}

fn number_of(truth: Truth) -> u16 {
    match truth {
        Truth::False => 0,
        Truth::Unknown => UNKNOWN,
        Truth::True => HOLDS,
    }
}

/// Truth as a number: *and* is the least, *or* the greatest, *not* is `HOLDS` less it.
pub(crate) const UNKNOWN: u16 = 1;
pub(crate) const HOLDS: u16 = 2;
