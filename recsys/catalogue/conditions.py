"""Conditions on items, as people write them: in a request, and in a rule."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from recsys.catalogue.fields import Model

LONGEST_LIST = 1_000
"""Values of a condition, and ids in one list."""

Names = Annotated[tuple[str, ...], Field(max_length=LONGEST_LIST)]
Values = Annotated[tuple[str, ...], Field(min_length=1, max_length=LONGEST_LIST)]


class Condition(Model):
    """Items must meet every part that is given; within a part, any of the values will do."""

    categories: Names = ()
    """In one of these; names must match exactly."""
    brands: Names = ()
    price_min: float | None = None
    """An item without a price meets no bound."""
    price_max: float | None = None
    attributes: dict[str, Values] = Field(default={})
    """Attribute -> accepted values, compared as text."""
    without_categories: Names = ()
    without_brands: Names = ()

    @model_validator(mode="after")
    def _leaves_something(self) -> Self:
        low, high = self.price_min, self.price_max
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"price_min {low:g} is above price_max {high:g}: nothing can meet both"
            )
        return self
