//! Several futures in one task, each polled only when something has happened to it.
//!
//! A task that waits for many things is woken for one of them and asks all of them. The two halves of a relay, and what may
//! end it from outside, have nothing to say to most wake-ups of the others; asking them costs more than the work itself.
//!
//! Promises: no wake-up is lost; the first poll always reaches the future.
//! Deliberately not here: running them at the same time. They share one task, and so may share what is not `Send`.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only when it was woken.
#[derive(Debug)]
pub(super) struct WhenWoken<'f, F> {
    future: Pin<&'f mut F>,
    bell: Arc<Bell>,
    /// What the future wakes: the bell.
    waker: Waker,
    /// The task that was last told to the bell.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who has rung it before has woken the task, and the task has not looked yet.
        if !self.has_rung.swap(true, Ordering::AcqRel)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

impl<'f, F> WhenWoken<'f, F> {
    pub(super) fn new(future: Pin<&'f mut F>) -> Self {
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: Mutex::default() });
        Self { future, waker: Waker::from(Arc::clone(&bell)), bell, task: None }
    }
}

impl<F: Future> Future for WhenWoken<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this.task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            this.task = Some(context.waker().clone());
            this.bell.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&this.task);
        }
        // After the task is known: whoever rings from here on wakes it.
        if !this.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::sync::Notify;

    use super::*;

    /// Counts how often it is asked, and asks `inner`.
    async fn counted<T>(polls: &Cell<u32>, inner: impl Future<Output = T>) -> T {
        let mut inner = pin!(inner);
        poll_fn(|context| {
            polls.set(polls.get() + 1);
            inner.as_mut().poll(context)
        })
        .await
    }

    #[tokio::test]
    async fn only_who_was_woken_is_asked() {
        let (one, other) = (Notify::new(), Notify::new());
        let (asked_one, asked_other) = (Cell::new(0), Cell::new(0));
        let both = async {
            let first = pin!(counted(&asked_one, async {
                for _ in 0..10 {
                    one.notified().await;
                }
            }));
            let second = pin!(counted(&asked_other, other.notified()));
            let (mut first, mut second) = (WhenWoken::new(first), WhenWoken::new(second));
            tokio::select! {
                () = &mut first => {}
                () = &mut second => panic!("nobody has notified it"),
            }
            other.notify_one();
            second.await;
        };
        let notify = async {
            for _ in 0..10 {
                one.notify_one();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(both, notify);
        assert_eq!(asked_other.get(), 2);
        assert!(asked_one.get() > 2, "{}", asked_one.get());
    }

    #[tokio::test]
    async fn no_wake_up_of_another_thread_is_lost() {
        const ROUNDS: usize = 20_000;
        let notify = Arc::new(Notify::new());
        let (heard, hearing) = std::sync::mpsc::channel();
        let ringing = {
            let notify = Arc::clone(&notify);
            std::thread::spawn(move || {
                for _ in 0..ROUNDS {
                    notify.notify_one();
                    hearing.recv().unwrap();
                }
            })
        };
        let hear = pin!(async {
            for _ in 0..ROUNDS {
                notify.notified().await;
                heard.send(()).unwrap();
            }
        });
        WhenWoken::new(hear).await;
        ringing.join().unwrap();
    }
}
