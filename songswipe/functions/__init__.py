"""The Inngest functions of the app, one module each."""
