"""What gunicorn and the flask command load."""

import sys

from dotenv import load_dotenv

from songswipe import create_app
from songswipe.errors import SettingsError

load_dotenv()

try:
    app = create_app()
except SettingsError as error:
    sys.exit(str(error))
