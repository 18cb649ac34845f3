//! The answer's body: what the site sends, piece by piece, as it comes.
//!
//! Polling it drives the site's connection. A piece is never held back: pieces that are ready together are handed out
//! one after the other without a wait, and the caller's connection writes them together.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Cutter, Failure,
    cutter::{Open, State},
    site::SiteState,
};

/// The body of a response. Dropping it before its end closes the connection to the site.
pub struct Body {
    incoming: Incoming,
    /// Has the connection to the site and the end that is to be told.
    cutter: Cutter,
    /// There is nothing more to give.
    over: bool,
    site: Arc<SiteState>,
    bytes_max: u64,
    idle_max: Duration,
    /// Since when nothing has come; none while pieces come.
    silent_since: Option<Instant>,
    /// Armed late and moved only when it fires: pieces do not touch it.
    timer: Option<Pin<Box<Sleep>>>,
    last_words: Option<LastWords>,
}

type LastWords = Box<dyn FnOnce(Failure) -> Bytes + Send + 'static>;

/// The answer was cut; the connection to the caller is broken off so that it cannot be taken for whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut: {0}")]
pub struct Cut(pub Failure);

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        open: Open,
        cutter: Cutter,
        site: Arc<SiteState>,
        (bytes_max, idle_max): (u64, Duration),
    ) -> Self {
        cutter.hand_over(open);
        let mut body = Self {
            incoming,
            cutter,
            over: false,
            site,
            bytes_max,
            idle_max,
            silent_since: None,
            timer: None,
            last_words: None,
        };
        body.finish_if_at_end();
        body
    }

    /// What to say in a stream that is cut, before it ends: one last event instead of a broken connection.
    pub fn when_cut(&mut self, say: impl FnOnce(Failure) -> Bytes + Send + 'static) {
        self.last_words = Some(Box::new(say));
    }

    /// The next piece, or why there is none any more.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Failure>> {
        let cutter = self.cutter.clone();
        let mut state = cutter.lock();
        loop {
            let State { cut, open, .. } = &mut *state;
            if let Some(why) = *cut {
                return Poll::Ready(Err(why));
            }
            let Some(open) = open else { return Poll::Ready(Ok(None)) };
            let frame = match poll_site(&mut self.incoming, open, context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Failure::Broken)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    state.wakes(context.waker());
                    drop(state);
                    return self.poll_silence(context).map(Err);
                }
            };
            // Trailers are on no allow-list.
            let Ok(data) = frame.into_data() else { continue };
            // usize is at most 64 bits wide.
            open.ending.sent.bytes_back += data.len() as u64;
            let too_much = open.ending.sent.bytes_back > self.bytes_max;
            return Poll::Ready(if too_much { Err(Failure::TooLarge) } else { Ok(Some(data)) });
        }
    }

    /// A caller that has the announced length does not ask again: the end is told with the last piece.
    fn finish_if_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        self.over = true;
        let open = self.cutter.lock().open.take();
        if let Some(Open { link, ending }) = open {
            self.site.pool.put(link);
            ending.whole();
        }
    }

    /// Ends here: the connection is closed, which stops the site's work.
    fn cut(&mut self, failure: Failure) -> Result<Frame<Bytes>, Cut> {
        self.over = true;
        self.cutter.cut(failure);
        match self.last_words.take() {
            Some(say) => Ok(Frame::data(say(failure))),
            None => Err(Cut(failure)),
        }
    }

    /// Nothing has come: has it been too long?
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let due = since + self.idle_max;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(Failure::IdleTimeout);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// What hyper has already decoded, else what the connection now brings.
fn poll_site(
    incoming: &mut Incoming,
    open: &mut Open,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    let ready = Pin::new(&mut *incoming).poll_frame(context);
    if ready.is_ready() {
        return ready;
    }
    open.link.drive(context);
    Pin::new(incoming).poll_frame(context)
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match std::task::ready!(this.poll_open(context)) {
            Ok(Some(data)) => {
                this.silent_since = None;
                this.finish_if_at_end();
                Some(Ok(Frame::data(data)))
            }
            Ok(None) => {
                this.finish();
                None
            }
            Err(failure) => Some(this.cut(failure)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        if self.over { SizeHint::with_exact(0) } else { self.incoming.size_hint() }
    }
}

/// The caller has gone: the connection is closed, which stops the site's work.
impl Drop for Body {
    fn drop(&mut self) {
        let open = self.cutter.lock().open.take();
        drop(open);
    }
}
