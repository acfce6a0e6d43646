from sampoll.cli import main

main()
