//! What is known of one log, in memory: what was cosigned, what of that is missing, and what was refused.

use std::collections::BTreeSet;

use tlog::{Checkpoint, Hash};

use super::log::Other;
use super::refusal::Refusal;
use super::shelf::Kept;
use super::submission::Submission;

#[derive(Debug, Default)]
pub(super) struct State {
    pub kept: Option<Kept>,
    /// What was cosigned, by our own signature, and `kept` does not know.
    pub lost: Option<Kept>,
    /// What was cosigned, by our own signature, and is no part of what is known.
    pub twice: Option<Kept>,
    /// Whether what the log shows was looked at since this process began.
    pub looked: bool,
    /// Unix seconds of the last well-signed checkpoint that contradicts what was seen, and why.
    pub contradicted: Option<(i64, Refusal)>,
    pub contradictions: u64,
    /// Well-signed checkpoints without a proof that they extend what was cosigned. Anybody can send those.
    pub unproven: u64,
    /// Signed trees that contradict what was cosigned, by size and root: each is told once.
    pub told: BTreeSet<(u64, [u8; 32])>,
    /// Signed texts that are on the disk as evidence: to look for them there again takes long.
    pub evident: BTreeSet<[u8; 32]>,
    /// The hour (Unix) in which one of them was an alarm last.
    pub unproven_hour: Option<i64>,
    /// The same of those whose log believes more to be cosigned than is known.
    pub behind_hour: Option<i64>,
    /// The same of cosignatures that bear a time which the clock has not reached.
    pub clock_hour: Option<i64>,
}

impl State {
    /// The largest tree of which it is known that we cosigned it.
    pub fn known(&self) -> Option<&Kept> {
        self.lost.as_ref().or(self.kept.as_ref())
    }

    /// What was cosigned, and the state does not know: nothing is cosigned.
    pub fn unknown(&self) -> Option<&Kept> {
        self.lost.as_ref().or(self.twice.as_ref())
    }

    /// The size that was cosigned last, as far as that can be told.
    pub fn size(&self, is_mirrored: bool) -> Result<u64, Refusal> {
        if self.lost.is_some() {
            return Err(Refusal::Lost);
        }
        let kept = self.kept.as_ref().map(|kept| kept.size);
        // Only where nothing is kept: who is known need not wait for what it shows.
        let none = if self.looked || !is_mirrored { Ok(0) } else { Err(Refusal::NotLooked) };
        kept.map_or(none, Ok)
    }

    /// The time of the next cosignature, Unix seconds: not before that of the last one, whatever a clock says that was set back.
    pub fn time_s(&self, now_s: i64) -> Result<u64, Refusal> {
        let last_s = self.kept.as_ref().map_or(0, |kept| kept.at_s);
        let at_s = u64::try_from(now_s).unwrap_or(0).max(last_s);
        // Set by the specification: zero says nothing about time.
        if at_s == 0 { Err(Refusal::Clock) } else { Ok(at_s) }
    }

    /// The sentence of an alarm, once an hour: one jump ahead of the clock is in every later time until the clock comes there.
    pub fn clock_behind(&mut self, now_s: i64) -> Option<String> {
        let last_s = i64::try_from(self.kept.as_ref()?.at_s).unwrap_or(i64::MAX);
        let ahead_s = last_s.saturating_sub(now_s);
        let hour = now_s.div_euclid(3_600);
        if ahead_s <= BEHIND_MAX_S || self.clock_hour.replace(hour) == Some(hour) {
            return None;
        }
        Some(format!(
            "the last cosignature bears the time {last_s}, and this witness's clock says {now_s}, {ahead_s} s less: it is behind, or was ahead. Until it comes there each cosignature of this log bears that time"
        ))
    }

    /// Counts it; gives code and sentence of the alarm, where it is one. A missing proof and a wrong size are anybody's doing, so one
    /// of each an hour is.
    pub fn refused(&mut self, refused: &Refused<'_>) -> Option<(&'static str, String)> {
        let &Refused { refusal, submission, checkpoint, now_s, ref other } = refused;
        let (size, root) = (checkpoint.size, checkpoint.root);
        let hour = now_s.div_euclid(3_600);
        match refusal {
            // Who knows that we cosigned so many was told so by us, or guesses.
            Refusal::Conflict(known) if submission.old > known => {
                let is_first = self.behind_hour.replace(hour) != Some(hour);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted as one that extends {} that were cosigned, and the state knows {known}: was it lost, or is it an older one?",
                    submission.old
                );
                is_first.then_some(("state_behind", about))
            }
            Refusal::EmptyRoot | Refusal::Fork => {
                self.contradicted = Some((now_s, refusal));
                self.contradictions += 1;
                // Somebody who sends it again and again has nothing new to say, and pushes out what others' logs did.
                let tree = (size, root.0);
                if self.told.contains(&tree) || self.told.len() >= TOLD_MAX {
                    return None;
                }
                self.told.insert(tree);
                let seen = other.as_ref().map_or(Hash::EMPTY, |other| other.root);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted that contradicts what was seen before: its root is {root}, and {seen} was seen"
                );
                Some(("contradiction", about))
            }
            Refusal::Proof => {
                self.unproven += 1;
                // One that could be none is nobody's alarm of the hour.
                if submission.old == 0 || size <= submission.old {
                    return None;
                }
                let is_first = self.unproven_hour.replace(hour) != Some(hour);
                let about = format!(
                    "a signed checkpoint of {size} records was submitted without a proof that it extends the one of {} that was cosigned",
                    submission.old
                );
                is_first.then_some(("unproven", about))
            }
            _ => None,
        }
    }
}

/// A submission that is not cosigned.
pub(super) struct Refused<'r> {
    pub refusal: Refusal,
    pub submission: &'r Submission<'r>,
    pub checkpoint: &'r Checkpoint,
    pub other: Option<Other>,
    pub now_s: i64,
}

/// Of each log, since this process began: far more than the evidence that is kept.
const TOLD_MAX: usize = 1_024;
/// Seconds that a clock may be set back without an alarm.
const BEHIND_MAX_S: i64 = 60;
