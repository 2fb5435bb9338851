//! Prediction of a row from the row above and what is to the left.
//!
//! A pixel of value 0 is none: depth that was not measured, infrared outside the image circle. It
//! has no residual, and where a prediction would lean on it, it takes the value of the row above,
//! so that prediction runs on through holes. All arithmetic is modulo 2^16.

use super::group::{GROUP, Group};
use super::lanes::Lanes;

/// From what a pixel is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    /// Left + above - above left: surfaces are planes.
    Plane,
    /// The mean of above, and of above left and above right: noise is averaged.
    Above,
}

impl Predictor {
    pub(super) const ALL: [Self; 2] = [Self::Plane, Self::Above];
}

/// A row of values to predict from, in whole groups, with one more value on either side: above an
/// image all are 0.
#[derive(Default)]
struct Context(Vec<u16>);

impl Context {
    fn reset(&mut self, width: usize) {
        self.0.clear();
        self.0.resize(width.next_multiple_of(GROUP) + 2, 0);
    }

    /// Beside the row lie its first value and its last.
    fn close(&mut self, width: usize) {
        self.0[0] = self.0[1];
        let last = self.0[width];
        self.0[width + 1..].fill(last);
    }

    /// Sixteen values; the first pixel of the row is at 1.
    #[inline(always)]
    fn group<L: Lanes>(&self, lanes: L, at: usize) -> L::Numbers {
        lanes.load(self.0[at..].first_chunk().expect("a row has whole groups"))
    }
}

/// The row that is predicted, and the one above it.
#[derive(Default)]
pub(super) struct Contexts {
    above: Context,
    here: Context,
}

/// A row that is being predicted, group by group.
pub(super) struct Row<'a, L: Lanes> {
    lanes: L,
    contexts: &'a mut Contexts,
    predictor: Predictor,
    /// The values of the group before while a row is taken apart; by how much they are above those
    /// of the row above while it is put together.
    before: L::Numbers,
    place: usize,
}

impl Contexts {
    /// Begins an image.
    pub(super) fn reset(&mut self, width: usize) {
        self.above.reset(width);
        self.here.reset(width);
    }

    /// Begins the next row, to take it apart.
    #[inline(always)]
    pub(super) fn next<L: Lanes>(
        &mut self,
        lanes: L,
        predictor: Predictor,
        width: usize,
    ) -> Row<'_, L> {
        std::mem::swap(&mut self.above, &mut self.here);
        self.above.close(width);
        // A row begins with the value above.
        let before = lanes.splat(self.above.0[0]);
        Row { lanes, contexts: self, predictor, before, place: 0 }
    }

    /// Begins the next row, to put it together.
    #[inline(always)]
    pub(super) fn next_restored<L: Lanes>(
        &mut self,
        lanes: L,
        predictor: Predictor,
        width: usize,
    ) -> Row<'_, L> {
        Row { before: lanes.splat(0), ..self.next(lanes, predictor, width) }
    }
}

impl<L: Lanes> Row<'_, L> {
    #[inline(always)]
    fn above(&self, right: usize) -> L::Numbers {
        self.contexts.above.group(self.lanes, self.place * GROUP + right)
    }

    #[inline(always)]
    fn keep(&mut self, values: L::Numbers) {
        let at = self.place * GROUP + 1;
        let kept = self.contexts.here.0[at..].first_chunk_mut();
        *kept.expect("a row has whole groups") = self.lanes.store(values);
        self.place += 1;
    }

    /// The residuals of the next group: zigzag of each pixel's distance from its prediction, 0 for
    /// a pixel that is none; and a bit for each pixel that is there.
    #[inline(always)]
    pub(super) fn residuals(&mut self, pixels: &Group) -> (L::Numbers, u16) {
        let lanes = self.lanes;
        let (pixels, n, nw) = (lanes.load(pixels), self.above(1), self.above(0));
        let values = lanes.or_else(pixels, n);
        let distance = match self.predictor {
            Predictor::Plane => {
                let west = lanes.follow(self.before, values);
                lanes.subtract(lanes.subtract(values, west), lanes.subtract(n, nw))
            }
            Predictor::Above => {
                let mean = lanes.mean(n, lanes.mean(nw, self.above(2)));
                lanes.subtract(values, mean)
            }
        };
        self.before = values;
        self.keep(values);
        let residuals = lanes.where_some(lanes.zigzag(distance), pixels);
        (residuals, !lanes.equal(pixels, lanes.splat(0)))
    }

    /// The pixels of the next group, of which those with a bit in `mask` are there, from its
    /// residuals, 0 for the others.
    #[inline(always)]
    pub(super) fn restore(&mut self, mask: u16, residuals: L::Numbers) -> Group {
        let (lanes, n) = (self.lanes, self.above(1));
        let (none, changes) = (lanes.splat(0), lanes.unzigzag(residuals));
        let values = match self.predictor {
            Predictor::Plane => {
                self.before = match mask {
                    u16::MAX => lanes.running_sum(self.before, changes),
                    0 => none,
                    // A pixel that is none has the value above.
                    _ => lanes.running_sums(self.before, changes, mask),
                };
                lanes.add(n, self.before)
            }
            Predictor::Above => {
                let mean = lanes.mean(n, lanes.mean(self.above(0), self.above(2)));
                lanes.select(mask, lanes.add(mean, changes), n)
            }
        };
        self.keep(values);
        lanes.store(lanes.select(mask, values, none))
    }
}
