"""Print the JSON schema of the configuration, as kept in rules/schemas/config.schema.json for editors."""

import argparse
import json

from guda.plan.config import Config


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(json.dumps(Config.model_json_schema(), indent=2))


if __name__ == "__main__":
    main()
