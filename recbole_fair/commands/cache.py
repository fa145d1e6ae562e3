"""`recbole-fair cache`: where item vectors are kept, how big they are, and how to be rid of them."""

from __future__ import annotations

from recbole_fair.commands.arguments import Arguments


def main(arguments: Arguments) -> int:
    """List the cached vectors, or remove them with --clear."""
    from recbole_fair.encoding import cache
    from recbole_fair.storage import cache_folder

    folder = cache_folder(arguments.take("cache_dir"))
    arguments.refuse_rest("cache")
    if "clear" in arguments.switches:
        print(f"{folder}: {cache.clear(folder) / 1e6:.1f} MB removed")
        return 0
    entries = cache.describe(folder)
    for path, size, rows, identity in entries:
        print(f"{size / 1e6:9.1f} MB  {rows:>9} rows  {identity}  {path}")
    print(f"{folder}: {sum(entry[1] for entry in entries) / 1e6:.1f} MB in {len(entries)} files")
    return 0
