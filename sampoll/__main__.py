from sampoll.cli.main import main

main()
