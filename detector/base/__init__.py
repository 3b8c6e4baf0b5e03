"""What every room needs: errors, files, params, arrays, the layout of archives."""
