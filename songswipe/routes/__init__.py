"""The HTTP routes of the app, one blueprint each. Inngest's own route is the SDK's."""
