//! Tuples of operations, two to eight.

use super::{Link, Links, Member, Op, Operation};
use crate::cancel::TokenSeat;

#[allow(
    private_interfaces,
    reason = "sealed: nobody outside names or implements it"
)]
pub trait Tuple {
    type Members;
    type Outputs;
    fn into_members(self) -> Self::Members;
    fn with(members: &mut Self::Members, f: &mut dyn FnMut(&mut [&mut dyn Member]));
    fn outputs(members: &mut Self::Members) -> Self::Outputs;
}

macro_rules! tuple {
    ($($name:ident $at:tt),*) => {
        #[allow(private_interfaces, reason = "sealed: nobody outside names or implements it")]
        impl<$($name: Operation),*> Tuple for ($(Op<$name>,)*) {
            type Members = ($(Link<$name>,)*);
            type Outputs = ($($name::Output,)*);

            fn into_members(self) -> Self::Members {
                ($(Link { op: self.$at, token_seat: TokenSeat::NONE, output: None },)*)
            }

            fn with(members: &mut Self::Members, f: &mut dyn FnMut(&mut [&mut dyn Member])) {
                f(&mut [$(&mut members.$at),*]);
            }

            fn outputs(members: &mut Self::Members) -> Self::Outputs {
                ($(members.$at.output.take().expect("every member has its result, and it is taken once"),)*)
            }
        }
        impl<$($name: Operation),*> Links for ($(Op<$name>,)*) {}
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
