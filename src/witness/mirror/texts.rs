//! The texts that judging the next records wants: records' digests -> as many texts as have room in memory together.
//!
//! *Invariant:* of bounded size, and nothing is left out silently: records for whose texts there is no room are judged after those
//! before them, with texts that are read again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use haetae_verify::export::Digest;

use crate::witness::trouble::Trouble;

/// Texts at hand, and those of which it is known that nobody keeps them.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    texts: BTreeMap<Digest, Option<Vec<u8>>>,
    bytes: usize,
}

impl Gathered {
    /// Brings what the next records want, in their order, until there is no room; gives for how many of them it is enough, which
    /// is one at least. `wants` is what each record wants.
    pub async fn bring<F>(
        &mut self,
        wants: &[Vec<Digest>],
        text: impl Fn(Digest) -> F,
    ) -> Result<usize, Trouble>
    where
        F: Future<Output = Result<Option<Vec<u8>>, Trouble>>,
    {
        let mut seen = BTreeSet::new();
        let lacks = self.lacks(wants.iter().flatten()).copied();
        let lacks: Vec<Digest> = lacks.filter(|digest| seen.insert(*digest)).collect();
        // The next record wants two, which may be larger than the room: they are brought all the same.
        let first = wants.first().map_or(&[][..], Vec::as_slice);
        let at_least = lacks.iter().filter(|digest| first.contains(digest)).count();
        let bring = |digest: Digest| {
            let text = text(digest);
            async move { Ok::<_, Trouble>((digest, text.await?)) }
        };
        let mut coming = stream::iter(lacks).map(bring).buffered(AT_A_TIME);
        let mut brought = 0;
        while brought < at_least || self.bytes < BYTES_MAX {
            let Some(text) = coming.next().await else { break };
            let (digest, text) = text?;
            self.add(digest, text);
            brought += 1;
        }
        Ok(wants.iter().take_while(|of_one| self.lacks(*of_one).next().is_none()).count())
    }

    /// Whether everything is at hand that is wanted now, or is known to be kept by nobody.
    pub fn is_enough(&self, wants: &[Digest]) -> bool {
        self.lacks(wants).next().is_none()
    }

    pub fn get(&self, digest: &Digest) -> Option<&Vec<u8>> {
        self.texts.get(digest)?.as_ref()
    }

    /// Those at hand.
    pub fn all(&self) -> impl Iterator<Item = (&Digest, &Vec<u8>)> {
        self.texts.iter().filter_map(|(digest, text)| Some((digest, text.as_ref()?)))
    }

    fn add(&mut self, digest: Digest, text: Option<Vec<u8>>) {
        self.bytes += text.as_ref().map_or(0, Vec::len);
        if let Some(Some(before)) = self.texts.insert(digest, text) {
            self.bytes -= before.len();
        }
    }

    fn lacks<'w>(
        &self,
        wants: impl IntoIterator<Item = &'w Digest>,
    ) -> impl Iterator<Item = &'w Digest> {
        wants.into_iter().filter(|digest| !self.texts.contains_key(digest))
    }
}

/// Past this nothing further is asked for: 16 MiB. What is on its way then comes on top, 12 MiB each at most.
const BYTES_MAX: usize = 16 << 20;
/// The way to the log is longer than the text.
const AT_A_TIME: usize = 4;

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;

    use super::*;
    use crate::witness::trouble::Kind;

    const MIB: usize = 1 << 20;

    fn digest(number: u8) -> Digest {
        Digest([number; 32])
    }

    /// Records of one bundle (text 0), each with facts of its own.
    fn wants(records: std::ops::Range<u8>) -> Vec<Vec<Digest>> {
        records.map(|record| vec![digest(0), digest(record)]).collect()
    }

    #[tokio::test]
    async fn memory_is_bounded_and_every_record_gets_its_texts() {
        let asked = Mutex::new(BTreeSet::new());
        let text = |digest: Digest| {
            asked.lock().unwrap().insert(digest);
            ready(Ok(Some(vec![digest.0[0]; 5 * MIB])))
        };
        let (mut from, mut pieces) = (1, 0);
        while from < 60 {
            let mut gathered = Gathered::default();
            let wants = wants(from..60);
            let count = gathered.bring(&wants, &text).await.unwrap();
            assert!(count > 0 && gathered.bytes <= BYTES_MAX + 5 * MIB, "{}", gathered.bytes);
            let is_there = |digest: &Digest| gathered.get(digest).unwrap()[0] == digest.0[0];
            assert!(wants[..count].iter().flatten().all(is_there));
            assert_eq!(gathered.is_enough(&wants.concat()), count == wants.len());
            from += u8::try_from(count).unwrap();
            pieces += 1;
        }
        // The bundle and three records' facts are 20 MiB.
        assert_eq!(pieces, 20);
        assert_eq!(asked.lock().unwrap().len(), 60);
    }

    #[tokio::test]
    async fn a_record_whose_texts_are_larger_than_the_room_is_judged_by_itself() {
        let text = |_| ready(Ok(Some(vec![0; 2 * BYTES_MAX])));
        let mut gathered = Gathered::default();
        assert_eq!(gathered.bring(&wants(1..9), text).await, Ok(1));
        // What was asked for in vain is known too; a record that wants nothing waits for nobody.
        let nobody = |_| ready(Ok(None));
        let mut gathered = Gathered::default();
        let all = [wants(1..9), vec![Vec::new(); 3]].concat();
        assert_eq!(gathered.bring(&all, nobody).await, Ok(11));
        assert!(gathered.is_enough(&all.concat()) && gathered.all().next().is_none());
        let trouble = Trouble::new(Kind::NotReached, "away");
        let away = |_| ready(Err(trouble.clone()));
        assert_eq!(Gathered::default().bring(&all, away).await, Err(trouble.clone()));
    }
}
