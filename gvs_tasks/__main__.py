"""``python -m gvs_tasks`` is the ``gvs`` command."""

from gvs_tasks.cli import main

if __name__ == "__main__":
    main()
