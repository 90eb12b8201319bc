//! Starting tasks and awaiting what they made.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::{TaskWaker, Tasks};

/// Starts tasks on the executor it came from. Clones are the same.
#[derive(Clone)]
pub struct Spawner {
    tasks: Rc<Tasks>,
}

impl Spawner {
    pub(super) fn new(tasks: Rc<Tasks>) -> Self {
        Self { tasks }
    }

    /// Starts `future` as a task of its own. Dropping the handle lets it run on.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let slot = Rc::new(RefCell::new(Joined::Running(None)));
        let result = Rc::clone(&slot);
        let task = Box::pin(async move {
            let output = future.await;
            if let Joined::Running(Some(waker)) = result.replace(Joined::Done(output)) {
                waker.wake();
            }
        });
        let id = self.tasks.next_id.get();
        self.tasks.next_id.set(id + 1);
        let waker = Arc::new(TaskWaker::new(id, Arc::clone(&self.tasks.ready)));
        self.tasks.waiting.borrow_mut().insert(id, (task, Arc::clone(&waker)));
        waker.wake();
        JoinHandle { slot }
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner")
    }
}

enum Joined<T> {
    Running(Option<Waker>),
    Done(T),
    Taken,
}

/// Awaits the output of a task.
pub struct JoinHandle<T> {
    slot: Rc<RefCell<Joined<T>>>,
}

impl<T> JoinHandle<T> {
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(*self.slot.borrow(), Joined::Running(_))
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.slot.borrow_mut();
        match std::mem::replace(&mut *slot, Joined::Taken) {
            Joined::Done(output) => Poll::Ready(output),
            Joined::Running(_) => {
                *slot = Joined::Running(Some(cx.waker().clone()));
                Poll::Pending
            }
            Joined::Taken => panic!("a task was awaited again after it had given its output"),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle(finished: {})", self.is_finished())
    }
}
